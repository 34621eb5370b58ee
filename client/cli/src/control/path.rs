//! Names of devices as parts of object paths, and back.
//!
//! Letters and digits stay, every other byte becomes `_` and two hexadecimal digits.

/// Where the devices are.
const DEVICES: &str = "/org/hasher/Hasher1/devices/";

/// The path of a device.
pub fn of_device(id: &str) -> String {
    let mut path = DEVICES.to_owned();
    for byte in id.bytes() {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => path.push(char::from(byte)),
            _ => path.push_str(&format!("_{byte:02x}")),
        }
    }
    path
}

/// The device at a path; nothing for a path of something else.
pub fn to_id(path: &str) -> Option<String> {
    let mut bytes = path.strip_prefix(DEVICES)?.bytes();
    let mut id = Vec::new();
    while let Some(byte) = bytes.next() {
        id.push(match byte {
            b'_' => digit(bytes.next()?)? * 16 + digit(bytes.next()?)?,
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => byte,
            _ => return None,
        });
    }
    String::from_utf8(id).ok()
}

fn digit(byte: u8) -> Option<u8> {
    let digit = char::from(byte).to_digit(16)?;
    u8::try_from(digit).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_devices_are_parts_of_paths() {
        assert_eq!(
            of_device("pci-0000:00:14.0-usb-0:2.3"),
            "/org/hasher/Hasher1/devices/pci_2d0000_3a00_3a14_2e0_2dusb_2d0_3a2_2e3"
        );
        assert_eq!(to_id("/org/hasher/Hasher1"), None);
        assert_eq!(to_id("/org/hasher/Hasher1/devices/a_2"), None);
        assert_eq!(to_id("/org/hasher/Hasher1/devices/a_ü1"), None);
        assert_eq!(to_id("/org/hasher/Hasher1/devices/aü"), None);
    }

    proptest! {
        #[test]
        fn every_name_comes_back(id in "\\PC{0,64}") {
            let path = of_device(&id);
            prop_assert!(path[DEVICES.len()..].bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
            prop_assert_eq!(to_id(&path), Some(id));
        }
    }
}
