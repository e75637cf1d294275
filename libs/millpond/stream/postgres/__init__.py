"""The stream library's database port on PostgreSQL, with asyncpg."""
