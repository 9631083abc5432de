//! config.json and environment to a typed, validated configuration.
