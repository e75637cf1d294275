// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// A plain ERC-20 whose owner mints.
contract LivepeerToken {
    string public constant name = "Livepeer Token";
    string public constant symbol = "LPT";
    uint8 public constant decimals = 18;

    address public minter = msg.sender;
    uint256 public totalSupply;
    mapping(address holder => uint256) public balanceOf;
    mapping(address holder => mapping(address spender => uint256)) public allowance;

    event Transfer(address indexed from, address indexed to, uint256 value);
    event Approval(address indexed owner, address indexed spender, uint256 value);

    function setMinter(address minter_) external {
        require(msg.sender == minter, "caller must be the minter");
        minter = minter_;
    }

    function mint(address to, uint256 value) external {
        require(msg.sender == minter, "caller must be the minter");
        totalSupply += value;
        balanceOf[to] += value;
        emit Transfer(address(0), to, value);
    }

    function approve(address spender, uint256 value) external returns (bool) {
        allowance[msg.sender][spender] = value;
        emit Approval(msg.sender, spender, value);
        return true;
    }

    function transfer(address to, uint256 value) external returns (bool) {
        _move(msg.sender, to, value);
        return true;
    }

    function transferFrom(address from, address to, uint256 value) external returns (bool) {
        allowance[from][msg.sender] -= value;
        _move(from, to, value);
        return true;
    }

    function _move(address from, address to, uint256 value) private {
        balanceOf[from] -= value;
        balanceOf[to] += value;
        emit Transfer(from, to, value);
    }
}

/// Behaves and costs as Circle's FiatToken 2.2 does: pausable, with a block list packed into the balances.
contract Usdc {
    string public constant name = "USD Coin";
    string public constant symbol = "USDC";
    uint8 public constant decimals = 6;
    uint256 private constant BLOCKED = 1 << 255;

    address public minter;
    bool public paused;
    uint256 public totalSupply;
    mapping(address holder => uint256) private balanceAndBlocked;
    mapping(address holder => mapping(address spender => uint256)) public allowance;

    event Transfer(address indexed from, address indexed to, uint256 value);
    event Approval(address indexed owner, address indexed spender, uint256 value);

    modifier whenNotPaused() {
        require(!paused, "Pausable: paused");
        _;
    }

    modifier notBlocked(address account) {
        require(balanceAndBlocked[account] & BLOCKED == 0, "Blacklistable: account is blacklisted");
        _;
    }

    /// The proxy's storage has no constructor: the first caller becomes the minter.
    function initialize() external {
        require(minter == address(0), "initialized");
        minter = msg.sender;
    }

    function balanceOf(address holder) public view returns (uint256) {
        return balanceAndBlocked[holder] & ~BLOCKED;
    }

    function setBlocked(address account, bool isBlocked) external {
        require(msg.sender == minter, "caller must be the minter");
        balanceAndBlocked[account] = balanceOf(account) | (isBlocked ? BLOCKED : 0);
    }

    function mint(address to, uint256 value) external notBlocked(to) {
        require(msg.sender == minter, "caller must be the minter");
        totalSupply += value;
        balanceAndBlocked[to] += value;
        emit Transfer(address(0), to, value);
    }

    function approve(address spender, uint256 value)
        external
        whenNotPaused
        notBlocked(msg.sender)
        notBlocked(spender)
        returns (bool)
    {
        allowance[msg.sender][spender] = value;
        emit Approval(msg.sender, spender, value);
        return true;
    }

    function transfer(address to, uint256 value)
        external
        whenNotPaused
        notBlocked(msg.sender)
        notBlocked(to)
        returns (bool)
    {
        _move(msg.sender, to, value);
        return true;
    }

    function transferFrom(address from, address to, uint256 value)
        external
        whenNotPaused
        notBlocked(msg.sender)
        notBlocked(from)
        notBlocked(to)
        returns (bool)
    {
        allowance[from][msg.sender] -= value;
        _move(from, to, value);
        return true;
    }

    function _move(address from, address to, uint256 value) private {
        require(to != address(0), "ERC20: transfer to the zero address");
        require(value <= balanceOf(from), "ERC20: transfer amount exceeds balance");
        balanceAndBlocked[from] = balanceOf(from) - value;
        balanceAndBlocked[to] = balanceOf(to) + value;
        emit Transfer(from, to, value);
    }
}

/// Costs as Circle's AdminUpgradeabilityProxy does: two slots read, and a delegated call.
contract UsdcProxy {
    // keccak256("org.zeppelinos.proxy.implementation"), keccak256("org.zeppelinos.proxy.admin")
    bytes32 private constant IMPLEMENTATION = 0x7050c9e0f4ca769c69bd3a8ef740bc37934f8e2c036e5a723fd8ee048ed3f8c3;
    bytes32 private constant ADMIN = 0x10d6a54a4754c8869d6886b5f5d7fbfa5b4522237ea5c60d11bc4e7a1ff9390b;

    constructor(address implementation) {
        assembly {
            sstore(IMPLEMENTATION, implementation)
            sstore(ADMIN, not(0))
        }
    }

    fallback() external payable {
        assembly {
            if eq(caller(), sload(ADMIN)) { revert(0, 0) }
            calldatacopy(0, 0, calldatasize())
            let ok := delegatecall(gas(), sload(IMPLEMENTATION), 0, calldatasize(), 0, 0)
            returndatacopy(0, 0, returndatasize())
            if iszero(ok) { revert(0, returndatasize()) }
            return(0, returndatasize())
        }
    }
}
