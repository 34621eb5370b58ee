//! Client library of hasherd: searches and digests over its socket.
