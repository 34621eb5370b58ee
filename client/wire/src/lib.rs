//! Frames of the socket protocol between hasherd and its clients.
