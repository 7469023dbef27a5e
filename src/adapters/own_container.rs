//! The container that this process itself runs in.

use std::path::Path;

/// The engine mounts `/etc/hostname` and its like from a directory named after the container.
///
/// `mountinfo` is `/proc/self/mountinfo`; `None` outside of a container.
pub fn own_container(mountinfo: &Path) -> Option<String> {
    let text = std::fs::read_to_string(mountinfo).ok()?;
    let lines = text.lines().filter(|line| line.contains(" /etc/hostname ") || line.contains(" /etc/resolv.conf "));
    let mut words = lines.flat_map(|line| line.split(['/', ' ']));
    words.find(|word| word.len() == 64 && word.chars().all(|c| c.is_ascii_hexdigit())).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_container_is_read_from_its_mounts() {
        let id = "a1".repeat(32);
        let file = tempfile::NamedTempFile::new().unwrap();
        let line = format!("1 2 8:1 /var/lib/docker/containers/{id}/hostname /etc/hostname rw - ext4 /dev/sda rw\n");
        std::fs::write(file.path(), line).unwrap();
        assert_eq!(own_container(file.path()), Some(id));
        std::fs::write(file.path(), "1 2 8:1 / / rw - ext4 /dev/sda rw\n").unwrap();
        assert_eq!(own_container(file.path()), None);
    }
}
