//! What the tests of several crates need: a server that speaks Qdrant's protocol, and a proxy that
//! does harm to what passes through it.
//!
//! Both run on threads of their own, so that plain tests can use them, and stop when they are
//! dropped. They panic where they cannot go on: in a test there is nothing else to do.

mod proxy;
mod server;
mod thread;

pub use proxy::{Fault, Faults, Handled, Proxy};
pub use server::{Collection, Id, Options, Point, Qdrant};
