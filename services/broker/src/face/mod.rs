//! The faces: each decodes requests of one protocol into calls of the [engine](crate::engine) and encodes its answers.

pub mod ld;
pub(crate) mod linked;
mod params;
pub mod peer;
pub mod v1;
pub mod v2;
