// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// Says which contract has which name, as Livepeer's does.
contract Controller {
    address public owner = msg.sender;
    bool public paused;

    mapping(bytes32 id => address contractAddress) private addresses;
    mapping(bytes32 id => bytes20 gitCommitHash) private commits;

    event SetContractInfo(bytes32 id, address contractAddress, bytes20 gitCommitHash);

    function setContractInfo(bytes32 id, address contractAddress, bytes20 gitCommitHash) external {
        require(msg.sender == owner, "caller must be the owner");
        addresses[id] = contractAddress;
        commits[id] = gitCommitHash;
        emit SetContractInfo(id, contractAddress, gitCommitHash);
    }

    function getContract(bytes32 id) external view returns (address) {
        return addresses[id];
    }

    function getContractInfo(bytes32 id) external view returns (address, bytes20) {
        return (addresses[id], commits[id]);
    }
}

/// What every contract that asks the Controller for the others has in common.
abstract contract Managed {
    Controller public immutable controller;

    constructor(Controller controller_) {
        controller = controller_;
    }

    modifier only(string memory name) {
        require(msg.sender == named(name), "caller must be the contract of that name");
        _;
    }

    function named(string memory name) internal view returns (address) {
        return controller.getContract(keccak256(bytes(name)));
    }
}
