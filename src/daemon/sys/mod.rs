//! The machine: netlink, `nf_tables` and its queues, traffic control, namespaces, processes, mounts.
//!
//! The only place with `unsafe` code and with privileged operations. It knows nothing of Kubernetes and decides
//! nothing: it does what it is told and reads back what is there. Everything blocks; callers in asynchronous code
//! use a blocking task.

pub mod cgroup;
pub mod channel;
pub mod close;
pub mod fingerprint;
mod hex;
pub mod mount;
pub mod netlink;
pub mod netns;
pub mod nfqueue;
pub mod nft;
pub mod proc;
pub mod rawsend;
pub mod spawn;
pub mod tc;
