// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

interface IPayouts {
    function fill(uint64, bytes32, address, bytes32[] calldata, uint256) external payable;
}

/// Takes nothing.
contract Reverts {
    receive() external payable {
        revert("no");
    }
}

/// Takes all the gas there is.
contract BurnsGas {
    receive() external payable {
        while (true) {}
    }
}

/// Answers with a megabyte, to be copied at the payer's cost.
contract AnswersTooMuch {
    receive() external payable {
        assembly {
            revert(0, 1000000)
        }
    }
}

/// Needs some 60,000 gas to receive.
contract Thirsty {
    mapping(uint256 => uint256) private slots;

    receive() external payable {
        slots[0] = 1;
        slots[1] = 1;
        slots[2] = block.number;
    }
}

/// Tries to be paid again from within its payment, and is the payer itself: the best place to try from.
contract PaysItself {
    IPayouts private payouts;
    bytes32 private order;
    bool public cameBack;

    function pay(IPayouts payouts_, bytes32[] calldata orders) external payable {
        payouts = payouts_;
        order = orders[0];
        payouts_.fill{value: msg.value}(1, 0, address(0), orders, 500_000);
    }

    receive() external payable {
        bytes32[] memory again = new bytes32[](1);
        again[0] = order;
        (bool done, ) = address(payouts).call{value: msg.value}(
            abi.encodeCall(IPayouts.fill, (2, 0, address(0), again, 10_000))
        );
        cameBack = done;
    }
}

/// The ticket broker's event, from a contract that the Controller doesn't name.
contract LookAlike {
    event WinningTicketTransfer(address indexed sender, address indexed recipient, uint256 amount);

    function pretend(address recipient, uint256 amount) external {
        emit WinningTicketTransfer(msg.sender, recipient, amount);
    }
}
