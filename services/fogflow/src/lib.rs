//! The FogFlow node in one process, and its command line.
