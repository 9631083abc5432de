//! FogFlow designer: registry of operators, topologies, functions and intents, and the dashboard.
