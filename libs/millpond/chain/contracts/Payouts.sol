// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

interface IERC20 {
    function transfer(address to, uint256 amount) external returns (bool);
    function transferFrom(address from, address to, uint256 amount) external returns (bool);
}

/// Pays numbered batches of orders, each number once.
///
/// The payer sends the money along: ETH as the call's value, a token by an allowance for this contract. What a recipient
/// can't take goes back to the payer in the same transaction, so that nothing ever lies here.
contract Payouts {
    /// What a call costs before the recipient's own gas: value, a cold and perhaps new account, the code around it.
    uint256 private constant CALL_GAS = 45_000;
    address private constant ETH = address(0);

    address public owner;
    address public offeredTo;
    address public payer;

    /// The digest of the batch that filled a slot; 0 while it is free.
    mapping(uint64 slot => bytes32 digest) public filled;

    bool private transient paying;

    event SlotFilled(
        uint64 indexed slot,
        bytes32 indexed digest,
        bytes32 epochRoot,
        address asset,
        uint256 total,
        uint256 payees,
        uint256 unpaidTotal
    );
    event PayeeUnpaid(uint64 indexed slot, uint256 index, address recipient, uint256 amount);
    event PayerChanged(address payer);
    event OwnerChanged(address owner);

    error NotOwner();
    error NotPayer();
    error Reentered();
    error SlotTaken(uint64 slot, bytes32 digest);
    error WrongValue(uint256 expected, uint256 found);
    error TokenRefused(address token);
    error GasTooLow(uint256 index);
    error NotReturned();

    constructor(address owner_, address payer_) {
        owner = owner_;
        payer = payer_;
        emit OwnerChanged(owner_);
        emit PayerChanged(payer_);
    }

    modifier onlyOwner() {
        if (msg.sender != owner) revert NotOwner();
        _;
    }

    /// The old payer's transactions fail from here on; which slots are filled does not depend on who fills them.
    function setPayer(address payer_) external onlyOwner {
        payer = payer_;
        emit PayerChanged(payer_);
    }

    /// Two steps: an address that nobody holds can't become the owner.
    function offerOwnership(address to) external onlyOwner {
        offeredTo = to;
    }

    function acceptOwnership() external {
        if (msg.sender != offeredTo) revert NotOwner();
        owner = msg.sender;
        offeredTo = address(0);
        emit OwnerChanged(msg.sender);
    }

    /// What a batch is known by: everything that says who gets what, and nothing of who sends it or at which price.
    function digestOf(uint64 slot, bytes32 epochRoot, address asset, bytes32[] calldata orders)
        public
        view
        returns (bytes32)
    {
        return keccak256(abi.encode(block.chainid, address(this), slot, epochRoot, asset, orders));
    }

    /// Fills `slot`. An order is the recipient's 20 bytes and the amount in 12. `asset` is a token, or 0 for ETH.
    ///
    /// A recipient that reverts, uses up `gasPerPayee`, or whom the token refuses, stays unpaid and stops nobody else.
    /// Too little gas reverts everything: a recipient must not stay unpaid because the payer was stingy.
    function fill(
        uint64 slot,
        bytes32 epochRoot,
        address asset,
        bytes32[] calldata orders,
        uint256 gasPerPayee
    ) external payable {
        if (msg.sender != payer) revert NotPayer();
        if (paying) revert Reentered();
        if (filled[slot] != 0) revert SlotTaken(slot, filled[slot]);
        bytes32 digest = digestOf(slot, epochRoot, asset, orders);
        // Before any call leaves: whoever comes back finds the slot taken.
        filled[slot] = digest;
        paying = true;

        uint256 total = _total(orders);
        _take(asset, total);
        uint256 unpaidTotal = _pay(slot, asset, orders, gasPerPayee);
        if (unpaidTotal != 0) _giveBack(asset, unpaidTotal);

        paying = false;
        emit SlotFilled(slot, digest, epochRoot, asset, total, orders.length, unpaidTotal);
    }

    function _total(bytes32[] calldata orders) private pure returns (uint256 total) {
        for (uint256 i = 0; i < orders.length; ++i) {
            total += uint96(uint256(orders[i]));
        }
    }

    function _take(address asset, uint256 total) private {
        uint256 value = asset == ETH ? total : 0;
        if (msg.value != value) revert WrongValue(value, msg.value);
        if (asset == ETH) return;
        bytes memory call = abi.encodeCall(IERC20.transferFrom, (msg.sender, address(this), total));
        (bool called, bytes memory answer) = asset.call(call);
        // An address without code "succeeds" too.
        if (!called || asset.code.length == 0 || (answer.length != 0 && !abi.decode(answer, (bool)))) {
            revert TokenRefused(asset);
        }
    }

    function _pay(uint64 slot, address asset, bytes32[] calldata orders, uint256 gasPerPayee)
        private
        returns (uint256 unpaidTotal)
    {
        // The EVM keeps 1/64 back, and silently forwards less than was asked for.
        uint256 gasNeeded = gasPerPayee + gasPerPayee / 63 + CALL_GAS;
        for (uint256 i = 0; i < orders.length; ++i) {
            address recipient = address(bytes20(orders[i]));
            uint256 amount = uint96(uint256(orders[i]));
            if (gasleft() < gasNeeded) revert GasTooLow(i);
            bool paid = asset == ETH
                ? _sendEth(recipient, amount, gasPerPayee)
                : _sendToken(asset, recipient, amount, gasPerPayee);
            if (!paid) {
                unpaidTotal += amount;
                emit PayeeUnpaid(slot, i, recipient, amount);
            }
        }
    }

    function _giveBack(address asset, uint256 amount) private {
        bool returned = asset == ETH
            ? _sendEth(msg.sender, amount, gasleft())
            : _sendToken(asset, msg.sender, amount, gasleft());
        if (!returned) revert NotReturned();
    }

    /// Takes no answer: copying a huge one would be paid by us.
    function _sendEth(address to, uint256 amount, uint256 gasLimit) private returns (bool sent) {
        assembly ("memory-safe") {
            sent := call(gasLimit, to, amount, 0, 0, 0, 0)
        }
    }

    /// Takes 32 bytes of the answer at most. No answer means yes: tokens older than the standard give none.
    function _sendToken(address token, address to, uint256 amount, uint256 gasLimit) private returns (bool sent) {
        assembly ("memory-safe") {
            let data := mload(0x40)
            mstore(data, shl(224, 0xa9059cbb)) // transfer(address,uint256)
            mstore(add(data, 4), to)
            mstore(add(data, 36), amount)
            let called := call(gasLimit, token, 0, data, 68, 0, 32)
            let yes := and(gt(returndatasize(), 31), eq(mload(0), 1))
            sent := and(called, or(iszero(returndatasize()), yes))
        }
    }
}
