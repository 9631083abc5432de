//! What every service's main needs: logs, metrics, health, access, TLS, supervised tasks, shutdown.
