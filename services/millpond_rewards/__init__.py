"""What is owed to whom: epochs, statements, payout orders."""
