//! What the system shows about boards, their nodes and who holds them.
//!
//! Owns the reading of sysfs, procfs, `/run/udev` and the user database, all below one
//! folder, so that tests can give it a tree of their own. It judges nothing and opens no
//! device. What cannot be read is simply not known.

mod service;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use self::service::{Service, Unit, Units};

/// Vendor number of the boards.
const VENDOR: &str = "4254";
/// Product number of a board that waits in its boot loader.
const BOOT_LOADER: &str = "424c";
/// Product number of a running board.
const APPLICATION: &str = "4153";

/// Most bytes of one file of sysfs or procfs that are read; real ones have a page.
const FILE_BYTES_MAX: u64 = 64 << 10;
/// Most devices, processes and descriptors that are looked at; a machine with more is
/// looked at in part.
const ENTRIES_MAX: usize = 65_536;
/// Longest part of a command line that is shown.
const COMMAND_CHARS_MAX: usize = 120;

/// Programs that are known to claim such boards.
const MINERS: [&str; 4] = ["cgminer", "bfgminer", "bmminer", "sgminer"];

/// Where rules files lie, in the order in which the first of a name counts.
const RULES_FOLDERS: [&str; 4] = [
    "etc/udev/rules.d",
    "run/udev/rules.d",
    "usr/lib/udev/rules.d",
    "lib/udev/rules.d",
];

/// A machine as far as boards are concerned.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Machine {
    /// The kernel has a USB bus.
    pub has_usb: bool,
    /// Boards on it.
    pub boards: Vec<Board>,
    /// Rules files that name the boards.
    pub rules: Vec<PathBuf>,
    /// Miners that run, whatever they hold.
    pub miners: Vec<Process>,
    /// Release of the kernel.
    pub kernel: String,
    /// Who looks.
    pub viewer: Viewer,
    /// The service as it is installed.
    pub service: Service,
}

/// Who runs the command.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Viewer {
    /// Root sees who holds what.
    pub is_root: bool,
    /// Their groups, by name.
    pub groups: Vec<String>,
    /// Whether the group of the socket exists at all.
    pub has_hasher_group: bool,
    /// In the group by the user database, though this session does not have it yet.
    pub is_listed_in_hasher: bool,
}

/// A board on the bus.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Board {
    /// The port's name as the daemon uses it.
    pub port: String,
    /// It waits in its boot loader.
    pub is_in_boot_loader: bool,
    /// The driver that has the interface: a kernel driver, or `usbfs` for a program.
    pub driver: Option<String>,
    /// The node.
    pub node: PathBuf,
    /// Its owner and mode.
    pub node_owner: Option<NodeOwner>,
    /// What udev knows of it; nothing if udev has not seen it.
    pub udev: Option<UdevRecord>,
    /// `on` or `auto`.
    pub power_control: Option<String>,
    /// Speed of the link in Mbit/s.
    pub speed: Option<String>,
    /// Its raw descriptors.
    pub descriptors: Vec<u8>,
    /// Programs that have the node open, as far as the viewer may see.
    pub holders: Vec<Process>,
}

/// Owner and mode of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeOwner {
    /// User, by name if it has one.
    pub user: String,
    /// Group, by name if it has one.
    pub group: String,
    /// The nine bits of the mode.
    pub mode: u32,
}

/// What udev's database says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UdevRecord {
    /// A rule asked systemd for the daemon.
    pub wants_daemon: bool,
}

/// A running program.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its short name.
    pub name: String,
    /// Its command line.
    pub command: String,
    /// Whose it is.
    pub user: String,
    /// The systemd unit it belongs to.
    pub unit: Option<String>,
}

impl Machine {
    /// Looks at the system below `root`, which is `/` but in tests.
    pub fn look(root: &Path) -> Self {
        let names = Names::read(root);
        let bus = root.join("sys/bus/usb/devices");
        let mut boards: Vec<_> = entries(&bus)
            .filter_map(|folder| board(root, &folder, &names))
            .collect();
        boards.sort_by(|a, b| a.port.cmp(&b.port));
        let miners = look_at_processes(root, &names, &mut boards);
        Self {
            has_usb: bus.is_dir(),
            boards,
            rules: rules(root),
            miners,
            kernel: text(&root.join("proc/sys/kernel/osrelease")).unwrap_or_default(),
            viewer: names.viewer(root),
            service: Service::look(root, names.has_user("hasherd")),
        }
    }
}

fn board(root: &Path, folder: &Path, names: &Names) -> Option<Board> {
    let product = text(&folder.join("idProduct"))?;
    let is_ours = text(&folder.join("idVendor"))? == VENDOR;
    if !is_ours || ![APPLICATION, BOOT_LOADER].contains(&product.as_str()) {
        return None;
    }
    let number = |name| text(&folder.join(name))?.parse::<u32>().ok();
    let node = format!(
        "dev/bus/usb/{:03}/{:03}",
        number("busnum")?,
        number("devnum")?
    );
    let name = folder.file_name()?.to_str()?.to_owned();
    let real = fs::canonicalize(folder).ok()?;
    Some(Board {
        port: port_path(&real).unwrap_or_else(|| name.clone()),
        is_in_boot_loader: product == BOOT_LOADER,
        driver: interface_driver(&real, &name),
        node_owner: fs::metadata(root.join(&node)).ok().map(|node| NodeOwner {
            user: names.user(node.uid()),
            group: names.group(node.gid()),
            mode: node.mode() & 0o777,
        }),
        udev: text(&folder.join("dev")).and_then(|number| {
            let record = text(&root.join(format!("run/udev/data/c{number}")))?;
            let wants = |line: &str| {
                line.strip_prefix("E:SYSTEMD_WANTS=")
                    .is_some_and(|units| units.split(' ').any(|unit| unit == "hasherd.service"))
            };
            Some(UdevRecord {
                wants_daemon: record.lines().any(wants),
            })
        }),
        power_control: text(&folder.join("power/control")),
        speed: text(&folder.join("speed")),
        descriptors: bytes(&folder.join("descriptors")).unwrap_or_default(),
        holders: Vec::new(),
        node: Path::new("/").join(node),
    })
}

/// The driver of the first interface.
fn interface_driver(device: &Path, name: &str) -> Option<String> {
    let configuration = text(&device.join("bConfigurationValue"))?;
    let interface = device.join(format!("{name}:{configuration}.0"));
    let driver = fs::read_link(interface.join("driver")).ok()?;
    Some(driver.file_name()?.to_str()?.to_owned())
}

/// The name that udev's `path_id` gives a port: its controllers from the outermost to
/// the nearest, then the chain of ports.
fn port_path(device: &Path) -> Option<String> {
    let (_, ports) = device.file_name()?.to_str()?.split_once('-')?;
    let mut parts = vec![format!("usb-0:{ports}")];
    let mut above = device.ancestors().skip(1);
    let mut run = String::from("usb");
    for folder in above.by_ref() {
        let subsystem = fs::read_link(folder.join("subsystem")).ok();
        let subsystem = subsystem
            .as_deref()
            .and_then(Path::file_name)
            .and_then(|name| name.to_str());
        match subsystem {
            Some(subsystem) => {
                if subsystem != run && ["pci", "platform", "acpi"].contains(&subsystem) {
                    let name = folder.file_name()?.to_str()?;
                    parts.push(format!("{subsystem}-{name}"));
                }
                run = subsystem.to_owned();
            }
            None if folder.join("uevent").exists() => run.clear(),
            None => {}
        }
    }
    parts.reverse();
    Some(parts.join("-"))
}

/// Finds miners, and for each board the programs that have its node open.
fn look_at_processes(root: &Path, names: &Names, boards: &mut [Board]) -> Vec<Process> {
    let mut miners = Vec::new();
    for folder in entries(&root.join("proc")) {
        let number = folder.file_name().and_then(|name| name.to_str());
        let Some(pid) = number.and_then(|number| number.parse().ok()) else {
            continue;
        };
        // Only whoever owns a process, and root, may read these links.
        let open: Vec<PathBuf> = entries(&folder.join("fd"))
            .filter_map(|descriptor| fs::read_link(descriptor).ok())
            .collect();
        let name = text(&folder.join("comm")).unwrap_or_default();
        let is_miner = MINERS.contains(&name.as_str());
        let holds = |board: &Board| open.contains(&board.node);
        if !is_miner && !boards.iter().any(holds) {
            continue;
        }
        let process = process(&folder, pid, name, names);
        for board in boards.iter_mut().filter(|board| holds(board)) {
            board.holders.push(process.clone());
        }
        if is_miner {
            miners.push(process);
        }
    }
    miners.sort_by_key(|process| process.pid);
    miners
}

fn process(folder: &Path, pid: u32, name: String, names: &Names) -> Process {
    let line = bytes(&folder.join("cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    let printable = line
        .trim()
        .chars()
        .map(|c| if c.is_control() { '?' } else { c });
    let status = text(&folder.join("status")).unwrap_or_default();
    let uid = ids(&status, "Uid:").first().copied();
    Process {
        pid,
        name,
        command: printable.take(COMMAND_CHARS_MAX).collect(),
        user: uid.map_or_else(|| "?".to_owned(), |uid| names.user(uid)),
        unit: text(&folder.join("cgroup")).as_deref().and_then(unit),
    }
}

/// The innermost service of a process's control groups.
fn unit(cgroups: &str) -> Option<String> {
    let folders = cgroups.lines().flat_map(|line| line.split('/'));
    let mut services = folders.filter(|folder| folder.ends_with(".service"));
    services.next_back().map(str::to_owned)
}

/// The numbers behind a key of `/proc/*/status`.
fn ids(status: &str, key: &str) -> Vec<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let numbers = line.unwrap_or_default().split_whitespace();
    numbers.filter_map(|number| number.parse().ok()).collect()
}

/// Rules files that name the vendor; of files of one name the first counts.
fn rules(root: &Path) -> Vec<PathBuf> {
    let mut found: BTreeMap<String, PathBuf> = BTreeMap::new();
    for folder in RULES_FOLDERS {
        for file in entries(&root.join(folder)) {
            let Some(name) = file.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            if name.ends_with(".rules") {
                found.entry(name.to_owned()).or_insert(file);
            }
        }
    }
    let names_boards = |file: &PathBuf| text(file).is_some_and(|text| text.contains(VENDOR));
    found.into_values().filter(names_boards).collect()
}

/// Users and groups.
struct Names {
    users: BTreeMap<u32, String>,
    groups: BTreeMap<u32, String>,
    /// Members of the socket's group by the user database; nothing without the group.
    hasher_members: Option<Vec<String>>,
}

impl Names {
    fn read(root: &Path) -> Self {
        let users = text(&root.join("etc/passwd")).unwrap_or_default();
        let groups = text(&root.join("etc/group")).unwrap_or_default();
        let hasher = groups.lines().find_map(|line| line.strip_prefix("hasher:"));
        Self {
            users: by_number(&users),
            groups: by_number(&groups),
            hasher_members: hasher.map(|line| {
                let members = line.rsplit(':').next().unwrap_or_default();
                members.split(',').map(str::to_owned).collect()
            }),
        }
    }

    fn user(&self, uid: u32) -> String {
        let known = self.users.get(&uid);
        known.map_or_else(|| uid.to_string(), Clone::clone)
    }

    fn has_user(&self, name: &str) -> bool {
        self.users.values().any(|user| user == name)
    }

    fn group(&self, gid: u32) -> String {
        let known = self.groups.get(&gid);
        known.map_or_else(|| gid.to_string(), Clone::clone)
    }

    fn viewer(&self, root: &Path) -> Viewer {
        let status = text(&root.join("proc/self/status")).unwrap_or_default();
        let uid = ids(&status, "Uid:").get(1).copied();
        let user = uid.map(|uid| self.user(uid)).unwrap_or_default();
        let groups = ids(&status, "Gid:").into_iter().take(1);
        let groups = groups.chain(ids(&status, "Groups:"));
        let members = self.hasher_members.as_deref().unwrap_or_default();
        Viewer {
            is_root: uid == Some(0),
            groups: groups.map(|gid| self.group(gid)).collect(),
            has_hasher_group: self.hasher_members.is_some(),
            is_listed_in_hasher: members.contains(&user),
        }
    }
}

/// `name:x:number:…` lines by number.
fn by_number(lines: &str) -> BTreeMap<u32, String> {
    let entry = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        Some((fields.nth(1)?.parse().ok()?, name))
    };
    lines.lines().filter_map(entry).collect()
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().take(ENTRIES_MAX);
    entries.filter_map(|entry| Some(entry.ok()?.path()))
}

fn bytes(file: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = fs::File::open(file).ok()?;
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn text(file: &Path) -> Option<String> {
    Some(String::from_utf8_lossy(&bytes(file)?).trim().to_owned())
}

#[cfg(test)]
pub mod tests;
