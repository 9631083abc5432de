//! FogFlow worker: runs task instances as processes, docker containers or pods.
