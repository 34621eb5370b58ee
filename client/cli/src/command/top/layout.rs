//! Which part of the screen gets how many lines. Pure numbers.

/// Fewest columns that the tables fit in.
pub const COLUMNS_MIN: u16 = 80;
/// Fewest lines that leave each table some rows.
pub const LINES_MIN: u16 = 24;

/// Lines above the tables: the daemon, the hash rate, the totals.
const HEAD: u16 = 3;
/// Most lines below the tables: keys need one, a message and its hint more.
const FOOT_MAX: u16 = 3;
/// Lines of a table that are no rows: its title and its column names.
const TABLE: u16 = 2;
/// Lines about the selected device, with its title: on a small and on a large screen.
const DETAIL: (u16, u16) = (7, 9);

/// Lines of each part, from top to bottom; together all lines of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heights {
    /// The daemon and its totals.
    pub head: u16,
    /// The table of devices.
    pub devices: u16,
    /// The selected device.
    pub detail: u16,
    /// The table of sessions.
    pub sessions: u16,
    /// Keys or a message.
    pub foot: u16,
}

/// Parts a screen of at least [`LINES_MIN`] lines. Each table gets what it needs when
/// there is room for both; else at least half of it. `foot` is how many lines the last
/// part wishes.
pub fn heights(lines: u16, devices: usize, sessions: usize, foot: u16) -> Heights {
    let foot = foot.clamp(1, FOOT_MAX);
    let detail = match lines {
        0..32 => DETAIL.0,
        _ => DETAIL.1,
    };
    let wish = |rows: usize| TABLE.saturating_add(u16::try_from(rows.max(1)).unwrap_or(u16::MAX));
    let room = lines.saturating_sub(HEAD + foot + detail);
    let rest = room.saturating_sub(wish(sessions));
    let devices = wish(devices).min(rest.max(room / 2));
    Heights {
        head: HEAD,
        devices,
        detail,
        sessions: room - devices,
        foot,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn all_lines_are_given_out_and_each_table_shows_a_row(
            lines in LINES_MIN..400, devices in 0usize..20, sessions in 0usize..70,
            foot in 0u16..9,
        ) {
            let heights = heights(lines, devices, sessions, foot);
            let Heights { head, devices, detail, sessions, foot } = heights;
            prop_assert_eq!(head + devices + detail + sessions + foot, lines);
            prop_assert!(devices > TABLE && sessions > TABLE, "{:?}", heights);
        }
    }

    #[test]
    fn few_devices_leave_the_room_to_many_sessions() {
        let heights = heights(24, 1, 64, 1);
        assert_eq!((heights.devices, heights.sessions), (3, 10));
        let heights = super::heights(24, 16, 2, 1);
        assert_eq!((heights.devices, heights.sessions), (9, 4));
    }
}
