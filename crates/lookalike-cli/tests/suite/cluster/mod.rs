//! The program on galleries that are on a cluster: a small server that speaks Qdrant's protocol
//! stands for it.

mod alias;
mod copying;
mod joined;
mod keys;
mod serving;
mod support;
mod usage;
mod workers;
