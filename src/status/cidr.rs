//! A range of IP addresses: `10.0.0.0/8`.

use std::net::IpAddr;

/// The addresses that begin with the same bits as this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cidr {
    address: IpAddr,
    bits: u8,
}

impl Cidr {
    /// An address, or one with the number of its bits that count.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            // `parse` takes a plus sign.
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => bits.parse().ok()?,
            Some(_) => return None,
            None => most,
        };
        (bits <= most).then_some(Self { address, bits })
    }

    /// IPv4 addresses that a socket for IPv6 has seen are IPv4 addresses.
    pub(super) fn contains(self, address: IpAddr) -> bool {
        let (this, other) = match (self.address, address.to_canonical(), address) {
            (IpAddr::V4(this), IpAddr::V4(other), _) => {
                (left(this.to_bits()), left(other.to_bits()))
            }
            (IpAddr::V6(this), IpAddr::V6(other), _) => (this.to_bits(), other.to_bits()),
            // Written as IPv6: `::ffff:10.0.0.0/104`.
            (IpAddr::V6(this), _, IpAddr::V6(other)) => (this.to_bits(), other.to_bits()),
            _ => return false,
        };
        // A shift by all bits is none that Rust allows.
        let differ = this ^ other;
        differ.checked_shr(128 - u32::from(self.bits)).unwrap_or(0) == 0
    }
}

/// The bits of an IPv4 address come first, as they do in IPv6.
fn left(bits: u32) -> u128 {
    u128::from(bits) << 96
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_contain_what_they_say() {
        let contains = |range: &str, address: &str| {
            Cidr::parse(range).unwrap().contains(address.parse().unwrap())
        };
        assert!(contains("10.0.0.0/8", "10.255.0.1"));
        assert!(!contains("10.0.0.0/8", "11.0.0.1"));
        assert!(contains("10.1.2.3", "10.1.2.3"));
        assert!(!contains("10.1.2.3", "10.1.2.4"));
        assert!(contains("0.0.0.0/0", "255.255.255.255"));
        assert!(!contains("0.0.0.0/0", "2001:db8::1"));
        assert!(contains("::/0", "2001:db8::1"));
        assert!(contains("2001:db8::/32", "2001:db8:ffff::1"));
        assert!(!contains("2001:db8::/32", "2001:db9::1"));
        assert!(contains("::1", "::1"));
        assert!(contains("10.0.0.0/8", "::ffff:10.1.1.1"));
        assert!(contains("::ffff:10.0.0.0/104", "::ffff:10.1.1.1"));
    }

    #[test]
    fn what_is_no_range_is_none() {
        for text in [
            "",
            "/",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0/8",
            "x/8",
            "10.0.0.0/",
            "10.0.0.0/8/8",
            "10.0.0.0/999999999999999999999",
            "fe80::1%eth0",
        ] {
            assert_eq!(Cidr::parse(text), None, "{text}");
        }
    }
}
