// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Controller, Managed} from "./Controller.sol";
import {LivepeerToken} from "./Tokens.sol";

/// Holds all ETH and all staked LPT.
contract Minter is Managed {
    LivepeerToken private immutable token;

    constructor(Controller controller_, LivepeerToken token_) Managed(controller_) {
        token = token_;
    }

    function depositETH() external payable only("TicketBroker") returns (bool) {
        return true;
    }

    function createReward(uint256 amount) external only("BondingManager") {
        token.mint(address(this), amount);
    }

    /// The recipient has 2300 gas, as with Livepeer's.
    function trustedWithdrawETH(address payable to, uint256 amount) external only("BondingManager") {
        (bool sent, ) = to.call{value: amount, gas: 0}("");
        require(sent, "recipient can't receive ETH with 2300 gas");
    }
}

/// Rounds begin when somebody says so.
contract RoundsManager is Managed {
    uint256 public currentRound;
    mapping(uint256 round => bytes32) public blockHashForRound;

    event NewRound(uint256 indexed round, bytes32 blockHash);

    constructor(Controller controller_) Managed(controller_) {}

    function initializeRound() external {
        currentRound += 1;
        bytes32 blockHash = blockhash(block.number - 1);
        blockHashForRound[currentRound] = blockHash;
        emit NewRound(currentRound, blockHash);
    }
}

/// What orchestrators can claim. There are no delegators here: of fees, the orchestrator keeps what feeShare leaves it.
contract BondingManager is Managed {
    uint256 private constant PARTS_PER_MILLION = 1_000_000;

    struct Transcoder {
        uint256 rewardCut;
        uint256 feeShare;
        uint256 stake;
        uint256 fees;
        uint256 lastRewardRound;
    }

    uint256 public immutable rewardPerRound;
    mapping(address => Transcoder) private transcoders;

    event TranscoderUpdate(address indexed transcoder, uint256 rewardCut, uint256 feeShare);
    event Reward(address indexed transcoder, uint256 amount);
    event WithdrawFees(address indexed delegator, address recipient, uint256 amount);

    constructor(Controller controller_, uint256 rewardPerRound_) Managed(controller_) {
        rewardPerRound = rewardPerRound_;
    }

    /// Registers the caller, or changes its cuts.
    function transcoder(uint256 rewardCut, uint256 feeShare) external {
        require(rewardCut <= PARTS_PER_MILLION && feeShare <= PARTS_PER_MILLION, "invalid cut");
        transcoders[msg.sender].rewardCut = rewardCut;
        transcoders[msg.sender].feeShare = feeShare;
        emit TranscoderUpdate(msg.sender, rewardCut, feeShare);
    }

    function reward() external {
        Transcoder storage t = transcoders[msg.sender];
        uint256 round = RoundsManager(named("RoundsManager")).currentRound();
        require(t.lastRewardRound < round, "caller has already called reward for the current round");
        t.lastRewardRound = round;
        t.stake += rewardPerRound;
        Minter(named("Minter")).createReward(rewardPerRound);
        emit Reward(msg.sender, rewardPerRound);
    }

    function updateTranscoderWithFees(address to, uint256 fees, uint256) external only("TicketBroker") {
        Transcoder storage t = transcoders[to];
        t.fees += fees - fees * t.feeShare / PARTS_PER_MILLION;
    }

    function withdrawFees(address payable recipient, uint256 amount) external {
        require(recipient != address(0), "invalid recipient");
        require(transcoders[msg.sender].fees >= amount, "insufficient fees to withdraw");
        transcoders[msg.sender].fees -= amount;
        Minter(named("Minter")).trustedWithdrawETH(recipient, amount);
        emit WithdrawFees(msg.sender, recipient, amount);
    }

    function pendingFees(address delegator, uint256) external view returns (uint256) {
        return transcoders[delegator].fees;
    }

    function pendingStake(address delegator, uint256) external view returns (uint256) {
        return transcoders[delegator].stake;
    }
}
