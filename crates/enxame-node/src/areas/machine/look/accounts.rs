//! Accounts that belong to a group, from `/etc/group` and `/etc/passwd`.

use std::collections::BTreeSet;

/// The group's members, sorted: those it lists and those that have it as their own group. `None` without the group.
pub(crate) fn members_of(name: &str, group: &str, passwd: &str) -> Option<Vec<String>> {
    let fields: Vec<&str> = group
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.first() == Some(&name))?;
    let group_id = fields.get(2).copied().unwrap_or_default();
    let listed = fields.get(3).copied().unwrap_or_default().split(',').map(str::trim);
    let by_own_group = passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let account = fields.next()?;
        (fields.nth(2)? == group_id).then_some(account)
    });
    let members: BTreeSet<&str> = listed.chain(by_own_group).filter(|account| !account.is_empty()).collect();
    Some(members.into_iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: &str = "root:x:0:\nsudo:x:27:admin\ndocker:x:996:zoe,admin\ndockerroot:x:995:eve\n";
    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nci:x:1001:996::/home/ci:/bin/sh\n";

    #[test]
    fn members_are_those_listed_and_those_whose_own_group_it_is() {
        assert_eq!(members_of("docker", GROUP, PASSWD).unwrap(), ["admin", "ci", "zoe"]);
        assert_eq!(members_of("root", GROUP, "").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_group_that_is_not_there_has_no_member_list() {
        assert_eq!(members_of("docke", GROUP, PASSWD), None);
    }
}
