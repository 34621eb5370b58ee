//! Users and groups of this computer, from the text of `/etc/passwd` and `/etc/group`.
//!
//! The daemon links no C library, so it knows nothing of users who come from elsewhere
//! (LDAP, SSSD); they are named by number.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;

/// Most bytes of each file that are read; some 50 000 users.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Names and numbers of users and groups.
#[derive(Debug, Clone, Default)]
pub struct Accounts {
    users: Vec<User>,
    groups: Vec<Group>,
}

#[derive(Debug, Clone)]
struct User {
    name: String,
    id: u32,
    group: u32,
}

#[derive(Debug, Clone)]
struct Group {
    name: String,
    id: u32,
    members: Vec<String>,
}

impl Accounts {
    /// Those of this computer as they are now; what cannot be read is empty.
    pub fn of_system() -> Self {
        Self::parse(&text_of("/etc/passwd"), &text_of("/etc/group"))
    }

    /// From the texts of the two files; lines of another form are skipped.
    pub fn parse(users: &str, groups: &str) -> Self {
        let users = users.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
            let id = fields.nth(1)?.parse().ok()?;
            let group = fields.next()?.parse().ok()?;
            Some(User { name, id, group })
        });
        let groups = groups.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
            let id = fields.nth(1)?.parse().ok()?;
            let members = fields.next().unwrap_or_default().split(',');
            let members = members.map(str::to_owned).collect();
            Some(Group { name, id, members })
        });
        Self {
            users: users.collect(),
            groups: groups.collect(),
        }
    }

    /// The number of a user, who may be named by it.
    pub fn user(&self, name: &str) -> Option<u32> {
        let known = self.users.iter().find(|user| user.name == name);
        known.map(|user| user.id).or_else(|| number(name))
    }

    /// The number of a group, which may be named by it.
    pub fn group(&self, name: &str) -> Option<u32> {
        let known = self.groups.iter().find(|group| group.name == name);
        known.map(|group| group.id).or_else(|| number(name))
    }

    /// The users in a group, by number: those whose own group it is, and its members.
    pub fn members(&self, group: u32) -> BTreeSet<u32> {
        let own = self.users.iter().filter(|user| user.group == group);
        let groups = self.groups.iter().filter(|other| other.id == group);
        let listed: BTreeSet<&str> = groups
            .flat_map(|group| &group.members)
            .map(String::as_str)
            .collect();
        let listed = self
            .users
            .iter()
            .filter(|user| listed.contains(user.name.as_str()));
        own.chain(listed).map(|user| user.id).collect()
    }
}

/// A number in digits alone: `parse` would take a plus sign.
fn number(text: &str) -> Option<u32> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

fn text_of(path: &str) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(path) {
        // A part that cannot be read is no reason to forget the rest.
        let _ = file.take(FILE_BYTES_MAX).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str = "root:x:0:0::/root:/bin/sh\nalice:x:1000:100::/:/bin/sh\n\
        bob:x:1001:1001:,,,:/:/bin/sh\nbroken:x:many\n\n:x:5:5::/:/\n";
    const GROUPS: &str = "root:x:0:\nusers:x:100:bob\nops:x:27:alice,carol\nlost\n";

    #[test]
    fn users_and_groups_are_found_by_name_and_number() {
        let accounts = Accounts::parse(USERS, GROUPS);
        assert_eq!(accounts.user("alice"), Some(1000));
        assert_eq!(accounts.user("4711"), Some(4711));
        for nobody in ["carol", "broken", "", "+5", "-1", "4294967296"] {
            assert_eq!(accounts.user(nobody), None, "{nobody}");
        }
        assert_eq!(accounts.group("users"), Some(100));
        assert_eq!(accounts.group("lost"), None);
    }

    #[test]
    fn a_group_has_its_members_and_those_whose_own_it_is() {
        let accounts = Accounts::parse(USERS, GROUPS);
        let members = |group| accounts.members(group).into_iter().collect::<Vec<_>>();
        assert_eq!(members(100), [1000, 1001]);
        assert_eq!(members(27), [1000]);
        assert!(members(9).is_empty());
    }
}
