"""Reading users' tables: rows as a stream, what is wrong with each, and the files that it names or holds."""
