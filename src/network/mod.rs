//! The algebra of network faults: what a pod's network should look like, as plain data.
//!
//! Pure: no file system, no sockets, no clock. `daemon::sys` turns the data into netlink messages.
//!
//! [`plan::NetworkPlan`] is what a pod should have; [`layout::layout`] says how that is made on a kernel.

pub mod layout;
pub mod netem;
pub mod plan;
pub mod qdisc;
mod shaping;
pub mod table;

/// The mark of packets that a shaper sends again (`SO_MARK`), which no queue may take a second time. It is seen within
/// the pod's network namespace alone: the kernel clears marks where a packet leaves one.
pub const RESENT_MARK: u32 = 0x4000_0000;

/// FNV-1a, 64 bits: short names and seeds that stay the same in every build and on every machine.
pub(crate) fn stable_hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::stable_hash;

    #[test]
    fn the_hash_is_fnv_1a() {
        // Test vectors of draft-eastlake-fnv, appendix C.
        for (text, hash) in
            [("", 0xcbf2_9ce4_8422_2325), ("a", 0xaf63_dc4c_8601_ec8c), ("foobar", 0x8594_4171_f739_67e8)]
        {
            assert_eq!(stable_hash(text), hash, "{text}");
        }
    }
}
