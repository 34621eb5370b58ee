//! Which boards are plugged in, told once each.
//!
//! Owns the comparison of what the bus shows now with what was told. Pure: lists in,
//! changes out. Events of the bus carry nothing that a list does not, so they only make
//! [`super::watch`] list again; that way a lost, doubled or late event changes nothing.

use crate::DeviceId;

/// Most boards that are followed. The status names 16 devices; a root hub has 15 ports.
pub const BOARDS_MAX: usize = 16;

/// What runs on a board's controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Waits to be started: product `424c`.
    BootLoader,
    /// Takes tokens: product `4153`.
    Application,
}

/// A board on the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Board {
    /// Its port: the same after every replug and reboot.
    pub id: DeviceId,
    /// What it runs.
    pub stage: Stage,
    /// Bus and device number: another one after every replug.
    pub address: (u8, u8),
    /// Whether udev has finished with it, so that its node has its final owner.
    pub is_settled: bool,
}

/// News of the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BusChange {
    /// A board is there and may be opened.
    Arrived(Board),
    /// The board at this port is not there any more.
    Left(DeviceId),
    /// A driver of the kernel has let go of the board at this port. Told with feature
    /// `udev` only. Of other programs nobody is told: trying each second finds out.
    Released(DeviceId),
}

/// What was told.
#[derive(Debug, Default)]
pub struct Tracker {
    told: Vec<Board>,
}

impl Tracker {
    /// Whether this board was told and has not left since.
    pub fn knows(&self, port: &DeviceId) -> bool {
        self.told.iter().any(|told| told.id == *port)
    }

    /// Takes what the bus shows now and says what changed. A board that was replugged
    /// between two lists leaves and arrives; one that udev has not finished with is
    /// not there yet; those beyond [`BOARDS_MAX`] are never told.
    pub fn on_list(&mut self, boards: Vec<Board>) -> Vec<BusChange> {
        let mut changes = Vec::new();
        self.told.retain(|told| {
            let stays = boards
                .iter()
                .any(|board| board.id == told.id && board.address == told.address);
            if !stays {
                changes.push(BusChange::Left(told.id.clone()));
            }
            stays
        });
        for board in boards {
            let is_told = self.told.iter().any(|told| told.id == board.id);
            if board.is_settled && !is_told && self.told.len() < BOARDS_MAX {
                self.told.push(board.clone());
                changes.push(BusChange::Arrived(board));
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn board(port: u8, address: u8) -> Board {
        Board {
            id: DeviceId(format!("usb-0:{port}")),
            stage: Stage::Application,
            address: (1, address),
            is_settled: true,
        }
    }

    fn left(port: u8) -> BusChange {
        BusChange::Left(DeviceId(format!("usb-0:{port}")))
    }

    #[test]
    fn each_arrival_and_each_departure_is_told_once() {
        let mut tracker = Tracker::default();
        let arrived = BusChange::Arrived;
        assert_eq!(
            tracker.on_list(vec![board(1, 4), board(2, 5)]),
            [arrived(board(1, 4)), arrived(board(2, 5))]
        );
        assert_eq!(tracker.on_list(vec![board(2, 5), board(1, 4)]), []);
        assert_eq!(tracker.on_list(vec![board(2, 5)]), [left(1)]);
        assert_eq!(tracker.on_list(vec![board(2, 5)]), []);
        assert!(tracker.knows(&board(2, 5).id) && !tracker.knows(&board(1, 4).id));
        assert_eq!(tracker.on_list(vec![]), [left(2)]);
    }

    #[test]
    fn a_replug_between_two_lists_is_seen_by_the_new_address() {
        let mut tracker = Tracker::default();
        tracker.on_list(vec![board(1, 4)]);
        assert_eq!(
            tracker.on_list(vec![board(1, 6)]),
            [left(1), BusChange::Arrived(board(1, 6))]
        );
    }

    #[test]
    fn a_board_that_starts_its_application_leaves_and_arrives() {
        let mut tracker = Tracker::default();
        let cold = Board {
            stage: Stage::BootLoader,
            ..board(1, 4)
        };
        tracker.on_list(vec![cold]);
        assert_eq!(tracker.on_list(vec![]), [left(1)]);
        assert_eq!(
            tracker.on_list(vec![board(1, 5)]),
            [BusChange::Arrived(board(1, 5))]
        );
    }

    #[test]
    fn a_board_is_not_there_before_udev_has_finished_with_it() {
        let mut tracker = Tracker::default();
        let mut fresh = board(1, 4);
        fresh.is_settled = false;
        assert_eq!(tracker.on_list(vec![fresh]), []);
        assert_eq!(
            tracker.on_list(vec![board(1, 4)]),
            [BusChange::Arrived(board(1, 4))]
        );
    }

    #[test]
    fn boards_beyond_the_limit_wait_until_one_leaves() {
        let mut tracker = Tracker::default();
        let all: Vec<_> = (0..20).map(|port| board(port, port)).collect();
        assert_eq!(tracker.on_list(all.clone()).len(), BOARDS_MAX);
        let changes = tracker.on_list(all[1..].to_vec());
        assert_eq!(changes, [left(0), BusChange::Arrived(board(16, 16))]);
    }

    proptest! {
        #[test]
        fn changes_rebuild_what_the_bus_shows(
            lists in proptest::collection::vec(proptest::collection::btree_map(0u8..6, 1u8..4, 0..6), 0..20),
        ) {
            let mut tracker = Tracker::default();
            let mut rebuilt = BTreeMap::new();
            for list in lists {
                let boards: Vec<_> = list.iter().map(|(port, address)| board(*port, *address)).collect();
                for change in tracker.on_list(boards.clone()) {
                    match change {
                        BusChange::Arrived(board) => {
                            prop_assert!(rebuilt.insert(board.id.0.clone(), board).is_none());
                        }
                        BusChange::Left(id) => prop_assert!(rebuilt.remove(&id.0).is_some()),
                        BusChange::Released(_) => prop_assert!(false, "a list cannot tell"),
                    }
                }
                let shown: BTreeMap<_, _> = boards.into_iter().map(|board| (board.id.0.clone(), board)).collect();
                prop_assert_eq!(&rebuilt, &shown);
            }
        }
    }
}
