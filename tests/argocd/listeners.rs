//! What the programs that a test started listen on, as the kernel of this machine sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// Of a socket in /proc/net/tcp.
const LISTENING: &str = "0A";

/// Fails if this process, or one that descends from it, listens on an address that another machine could reach, or if one
/// of the `expected` programs does not listen at all. A program is known by a word of its command line.
pub fn assert_on_loopback(expected: &[&str]) {
    let found = listeners();
    let reachable: Vec<_> = found.iter().filter(|(_, address)| !is_loopback(address.ip())).collect();
    assert!(reachable.is_empty(), "not on loopback: {reachable:#?}");
    for program in expected {
        let listens = found.iter().any(|(command, _)| command.split(' ').any(|word| word == *program));
        assert!(listens, "{program} listens nowhere: {found:#?}");
    }
    println!("{} sockets listen, all on loopback", found.len());
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// Command line and address of each listening socket of this process and those that descend from it.
fn listeners() -> Vec<(String, SocketAddr)> {
    let sockets = sockets();
    let mut found = Vec::new();
    for pid in family() {
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let program = command.split('\0').map(|word| word.rsplit('/').next().unwrap_or(word));
        let command = program.collect::<Vec<_>>().join(" ");
        // A process may have ended since.
        for descriptor in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
            let Ok(link) = fs::read_link(descriptor.path()) else { continue };
            found.extend(sockets.get(&inode(&link)).map(|address| (command.clone(), *address)));
        }
    }
    found
}

/// `socket:[12345]`; 0, which no socket has, for anything else.
fn inode(link: &Path) -> u64 {
    let name = link.to_string_lossy();
    let inside = name.strip_prefix("socket:[").and_then(|name| name.strip_suffix(']'));
    inside.and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// This process and all that descend from it.
fn family() -> BTreeSet<u32> {
    let mut parents = BTreeMap::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        // The name in brackets may hold anything; the parent is the second field behind it.
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse::<u32>().ok());
        parents.insert(pid, parent.unwrap_or_default());
    }
    let mut family = BTreeSet::from([std::process::id()]);
    loop {
        let before = family.len();
        family.extend(
            parents.iter().filter(|(_, parent)| family.contains(parent)).map(|(pid, _)| *pid).collect::<Vec<_>>(),
        );
        if family.len() == before {
            return family;
        }
    }
}

/// The listening TCP sockets of this network namespace by inode.
fn sockets() -> BTreeMap<u64, SocketAddr> {
    let mut sockets = BTreeMap::new();
    for table in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
        let text = fs::read_to_string(table).unwrap_or_default();
        for fields in text.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>()) {
            if fields[3] == LISTENING {
                sockets.insert(fields[9].parse().unwrap(), address(fields[1]));
            }
        }
    }
    sockets
}

/// `0100007F:1F90`: the words of the address as this machine stores them, then the port.
fn address(text: &str) -> SocketAddr {
    let (address, port) = text.split_once(':').unwrap();
    let words = address.as_bytes().chunks(8).map(|word| std::str::from_utf8(word).unwrap());
    let bytes: Vec<u8> = words.flat_map(|word| u32::from_str_radix(word, 16).unwrap().to_ne_bytes()).collect();
    let ip = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(bytes) => IpAddr::V4(Ipv4Addr::from(bytes)),
        Err(_) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice()).unwrap())),
    };
    SocketAddr::new(ip, u16::from_str_radix(port, 16).unwrap())
}

#[test]
fn a_listening_socket_is_seen() {
    let socket = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mine = socket.local_addr().unwrap();
    assert!(listeners().iter().any(|(_, address)| *address == mine));
    drop(socket);
    assert!(!listeners().iter().any(|(_, address)| *address == mine), "it is closed");
}

#[test]
fn every_interface_is_not_loopback() {
    for (text, loopback) in [
        ("0100007F:1F90", true),
        ("00000000:1F90", false),
        ("00000000000000000000000001000000:1F90", true),
        ("00000000000000000000000000000000:1F90", false),
        ("0000000000000000FFFF00000100007F:1F90", true),
        ("0000000000000000FFFF000000000000:1F90", false),
    ] {
        let address = address(text);
        assert_eq!((is_loopback(address.ip()), address.port()), (loopback, 8080), "{text}");
    }
}
