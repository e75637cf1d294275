// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {BondingManager, Minter, RoundsManager} from "./Bonding.sol";
import {Controller, Managed} from "./Controller.sol";

/// Takes winning tickets as Livepeer's does, and pays them from the sender's deposit, then from its reserve.
contract TicketBroker is Managed {
    struct Ticket {
        address recipient;
        address sender;
        uint256 faceValue;
        uint256 winProb;
        uint256 senderNonce;
        bytes32 recipientRandHash;
        bytes auxData;
    }

    struct Sender {
        uint256 deposit;
        uint256 reserve;
    }

    uint256 public constant ticketValidityPeriod = 2;
    /// An orchestrator can claim one part in so many of a sender's reserve.
    uint256 public immutable poolSize;
    /// Since 2026-07 a ticket that deposit and reserve don't cover is refused; before, it was used up for what there was.
    bool public immutable mustBeCovered;

    mapping(bytes32 ticketHash => bool) public usedTickets;
    mapping(address => Sender) private senders;
    mapping(address sender => mapping(address claimant => uint256)) private claimed;

    event DepositFunded(address indexed sender, uint256 amount);
    event ReserveFunded(address indexed reserveHolder, uint256 amount);
    event ReserveClaimed(address indexed reserveHolder, address claimant, uint256 amount);
    event WinningTicketTransfer(address indexed sender, address indexed recipient, uint256 amount);
    event WinningTicketRedeemed(
        address indexed sender,
        address indexed recipient,
        uint256 faceValue,
        uint256 winProb,
        uint256 senderNonce,
        uint256 recipientRand,
        bytes auxData
    );

    constructor(Controller controller_, uint256 poolSize_, bool mustBeCovered_) Managed(controller_) {
        poolSize = poolSize_;
        mustBeCovered = mustBeCovered_;
    }

    function fundDepositAndReserve(uint256 deposit, uint256 reserve) external payable {
        require(msg.value == deposit + reserve, "msg.value does not equal sum of deposit amount and reserve amount");
        senders[msg.sender].deposit += deposit;
        senders[msg.sender].reserve += reserve;
        Minter(named("Minter")).depositETH{value: msg.value}();
        emit DepositFunded(msg.sender, deposit);
        emit ReserveFunded(msg.sender, reserve);
    }

    /// Anybody may redeem; the recipient gets the credit.
    function redeemWinningTicket(Ticket memory ticket, bytes memory sig, uint256 recipientRand) public {
        bytes32 ticketHash = _take(ticket, sig, recipientRand);
        Sender storage sender = senders[ticket.sender];
        require(
            !mustBeCovered || sender.deposit + sender.reserve >= ticket.faceValue,
            "insufficient sender funds"
        );
        usedTickets[ticketHash] = true;
        uint256 amount = _charge(ticket);
        if (amount > 0) {
            uint256 round = abi.decode(ticket.auxData, (uint256));
            BondingManager(named("BondingManager")).updateTranscoderWithFees(ticket.recipient, amount, round);
            emit WinningTicketTransfer(ticket.sender, ticket.recipient, amount);
        }
        emit WinningTicketRedeemed(
            ticket.sender,
            ticket.recipient,
            ticket.faceValue,
            ticket.winProb,
            ticket.senderNonce,
            recipientRand,
            ticket.auxData
        );
    }

    /// Passes over tickets that fail.
    function batchRedeemWinningTickets(Ticket[] memory tickets, bytes[] memory sigs, uint256[] memory rands) external {
        for (uint256 i = 0; i < tickets.length; i++) {
            try this.redeemWinningTicket(tickets[i], sigs[i], rands[i]) {} catch {}
        }
    }

    function getTicketHash(Ticket memory ticket) public pure returns (bytes32) {
        return keccak256(
            abi.encodePacked(
                ticket.recipient,
                ticket.sender,
                ticket.faceValue,
                ticket.winProb,
                ticket.senderNonce,
                ticket.recipientRandHash,
                ticket.auxData
            )
        );
    }

    /// What makes a ticket good. Says its hash.
    function _take(Ticket memory ticket, bytes memory sig, uint256 recipientRand) private view returns (bytes32) {
        require(ticket.recipient != address(0) && ticket.sender != address(0), "ticket has no recipient or sender");
        require(ticket.auxData.length == 64, "invalid length for ticket auxData");
        (uint256 round, bytes32 blockHash) = abi.decode(ticket.auxData, (uint256, bytes32));
        RoundsManager rounds = RoundsManager(named("RoundsManager"));
        require(blockHash != 0 && rounds.blockHashForRound(round) == blockHash, "ticket creationRound does not match");
        require(round + ticketValidityPeriod > rounds.currentRound(), "ticket is expired");
        require(keccak256(abi.encode(recipientRand)) == ticket.recipientRandHash, "recipientRand does not match");
        bytes32 ticketHash = getTicketHash(ticket);
        require(!usedTickets[ticketHash], "ticket is used");
        require(_signer(ticketHash, sig) == ticket.sender, "invalid signature over ticket hash");
        require(uint256(keccak256(abi.encodePacked(sig, recipientRand))) < ticket.winProb, "ticket did not win");
        return ticketHash;
    }

    function _charge(Ticket memory ticket) private returns (uint256) {
        Sender storage sender = senders[ticket.sender];
        if (ticket.faceValue <= sender.deposit) {
            sender.deposit -= ticket.faceValue;
            return ticket.faceValue;
        }
        uint256 fromDeposit = sender.deposit;
        uint256 had = claimed[ticket.sender][ticket.recipient];
        uint256 claimable = (sender.reserve + had) / poolSize;
        claimable = claimable > had ? claimable - had : 0;
        uint256 missing = ticket.faceValue - fromDeposit;
        uint256 fromReserve = missing < claimable ? missing : claimable;
        sender.deposit = 0;
        sender.reserve -= fromReserve;
        claimed[ticket.sender][ticket.recipient] = had + fromReserve;
        if (fromReserve > 0) emit ReserveClaimed(ticket.sender, ticket.recipient, fromReserve);
        return fromDeposit + fromReserve;
    }

    function _signer(bytes32 ticketHash, bytes memory sig) private pure returns (address) {
        if (sig.length != 65) return address(0);
        bytes32 r;
        bytes32 s;
        uint8 v;
        assembly ("memory-safe") {
            r := mload(add(sig, 32))
            s := mload(add(sig, 64))
            v := byte(0, mload(add(sig, 96)))
        }
        return ecrecover(keccak256(abi.encodePacked("\x19Ethereum Signed Message:\n32", ticketHash)), v, r, s);
    }
}
