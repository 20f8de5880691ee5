//! TCP as a host sees it, for `wait_for`. In: an address and a port; out: whether it takes connections, what it says,
//! how many connections it has. On this machine sockets do it; elsewhere whatever the host has: bash, `nc`, or busybox.

use std::net::IpAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::host;
use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;

/// As much as is read of what a port says.
const MOST: usize = 1 << 20;

/// Words: address, port, seconds, and `read` when what it says is wanted. Status 3 when the host cannot try. Which tool
/// tries does not matter: all of them end with 0 when the connection came about.
const TRY: &str = r#"limit() { if command -v timeout >/dev/null 2>&1; then timeout "$@"; else shift; "$@"; fi; }
if [ "$4" = read ]; then
if command -v bash >/dev/null 2>&1; then limit "$3" bash -c 'exec 3<>"/dev/tcp/$1/$2" && exec cat <&3' bash "$1" "$2" 2>/dev/null; exit 0; fi
for nc in nc 'busybox nc'; do if command -v ${nc%% *} >/dev/null 2>&1; then sleep "$3" | limit "$3" $nc "$1" "$2" 2>/dev/null; exit 0; fi; done
exit 3
fi
if command -v bash >/dev/null 2>&1; then limit "$3" bash -c 'exec 3<>"/dev/tcp/$1/$2"' bash "$1" "$2" 2>/dev/null && exit 0; exit 1; fi
for nc in nc 'busybox nc'; do
command -v ${nc%% *} >/dev/null 2>&1 || continue
if $nc -h 2>&1 | grep -q -e '-z'; then limit "$3" $nc -z "$1" "$2" </dev/null >/dev/null 2>&1 && exit 0; exit 1; fi
e=$(limit "$3" $nc -w "$3" "$1" "$2" </dev/null 2>&1 >/dev/null) && exit 0
exit 1
done
exit 3"#;

fn cannot(platform: &Platform) -> ModuleError {
    let place = platform
        .shell()
        .map_or_else(|_| "the host".to_owned(), |shell| shell.place());
    ModuleError::new(
        ErrorKind::MissingProgram,
        format!("{place} has nothing to try a port with: no `bash`, `nc` or `busybox`"),
    )
    .hint("look from this machine with `delegate_to: localhost`, or install one of them there")
}

async fn attempt(
    platform: &Platform,
    address: &str,
    port: u16,
    within: Duration,
    word: &str,
) -> Result<(bool, Vec<u8>), ModuleError> {
    let seconds = within.as_secs().max(1).to_string();
    let words = [
        address.to_owned(),
        port.to_string(),
        seconds,
        word.to_owned(),
    ];
    let output = host::script(platform, TRY, &words, None).await?;
    match output.rc {
        3 => Err(cannot(platform)),
        rc => Ok((rc == 0, output.stdout)),
    }
}

/// Whether the port takes a connection.
pub(super) async fn connects(
    platform: &Platform,
    address: &str,
    port: u16,
    within: Duration,
) -> Result<bool, ModuleError> {
    if platform.shell()?.is_local() {
        let connected = timeout(within, TcpStream::connect((address, port))).await;
        return Ok(matches!(connected, Ok(Ok(_))));
    }
    attempt(platform, address, port, within, "")
        .await
        .map(|(is_open, _)| is_open)
}

/// What the port says until it is enough, it has no more, or time is up.
pub(super) async fn hears(
    platform: &Platform,
    address: &str,
    port: u16,
    within: Duration,
    enough: impl Fn(&[u8]) -> bool + Send,
) -> Result<Vec<u8>, ModuleError> {
    if platform.shell()?.is_local() {
        let mut heard = Vec::new();
        let listen = async {
            let mut stream = TcpStream::connect((address, port)).await?;
            let mut piece = vec![0; 1 << 12];
            while heard.len() < MOST && !enough(&heard) {
                let read = stream.read(&mut piece).await?;
                match piece.get(..read) {
                    Some(more) if read > 0 => heard.extend_from_slice(more),
                    _ => break,
                }
            }
            Ok::<_, std::io::Error>(())
        };
        // Refused, broken or silent: what was heard until then counts.
        let _ = timeout(within, listen).await;
        return Ok(heard);
    }
    // A server that goes on talking is cut off after a while, and what it said until then is looked at.
    let within = within.min(Duration::from_secs(2));
    attempt(platform, address, port, within, "read")
        .await
        .map(|(_, heard)| heard)
}

/// The kernel's number of a connection's state.
pub(super) fn state_code(name: &str) -> Option<&'static str> {
    Some(match name {
        "ESTABLISHED" => "01",
        "SYN_SENT" => "02",
        "SYN_RECV" => "03",
        "FIN_WAIT1" => "04",
        "FIN_WAIT2" => "05",
        "TIME_WAIT" => "06",
        _ => return None,
    })
}

/// An address as `/proc/net/tcp` and `tcp6` write it: words of four bytes in the machine's order.
fn in_hex(address: IpAddr) -> Vec<String> {
    let words = |bytes: &[u8]| -> String {
        let words = bytes.chunks(4).map(|word| {
            let word: Vec<u8> = word.iter().rev().copied().collect();
            hex::encode_upper(word)
        });
        words.collect()
    };
    match address {
        IpAddr::V4(address) => vec![
            words(&address.octets()),
            words(&address.to_ipv6_mapped().octets()),
        ],
        IpAddr::V6(address) => vec![words(&address.octets())],
    }
}

async fn addresses(name: &str) -> Result<Vec<String>, ModuleError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(in_hex(address));
    }
    let found = lookup_host((name, 0)).await.map_err(|problem| {
        ModuleError::argument("host", format!("`{name}` has no address: {problem}"))
    })?;
    Ok(found.flat_map(|address| in_hex(address.ip())).collect())
}

/// How many connections a local port has.
pub(super) async fn active(
    platform: &Platform,
    address: &str,
    port: u16,
    excluded: &[String],
    states: &[String],
) -> Result<usize, ModuleError> {
    let own = addresses(address).await?;
    let mut left_out = Vec::new();
    for name in excluded {
        left_out.extend(addresses(name).await?);
    }
    let codes: Vec<&str> = states.iter().filter_map(|name| state_code(name)).collect();
    let script = "cat /proc/net/tcp /proc/net/tcp6 2>/dev/null; :";
    let output = host::script(platform, script, &[], None).await?;
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(count(&table, port, &own, &left_out, &codes))
}

fn count(table: &str, port: u16, own: &[String], excluded: &[String], states: &[&str]) -> usize {
    let port = format!("{port:04X}");
    let every = |address: &str| address.bytes().all(|b| b == b'0');
    // An IPv4 connection of an IPv6 socket.
    let mapped_to_every = own.iter().any(|address| every(address));
    table
        .lines()
        .filter(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let (Some(local), Some(remote), Some(state)) =
                (fields.next(), fields.next(), fields.next())
            else {
                return false;
            };
            let (Some((local, local_port)), Some((remote, _))) =
                (local.split_once(':'), remote.split_once(':'))
            else {
                return false;
            };
            local_port == port
                && states.contains(&state)
                && !excluded.iter().any(|address| address == remote)
                && (mapped_to_every || own.iter().any(|address| address == local))
        })
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_as_the_kernel_lists_them() {
        let table = "  sl  local_address rem_address   st\n\
            0: 0100007F:1F90 00000000:0000 0A 0\n\
            1: 0100007F:1F90 0200007F:C001 01 0\n\
            2: 0100007F:1F91 0200007F:C002 01 0\n\
            3: 0000000000000000FFFF00000100007F:1F90 0000000000000000FFFF00000300007F:C003 06 0\n";
        let own = in_hex("127.0.0.1".parse().unwrap());
        let of = |text: &str| in_hex(text.parse().unwrap());
        let active = ["01", "06"];
        assert_eq!(count(table, 8080, &own, &[], &active), 2);
        assert_eq!(count(table, 8080, &own, &[], &["01"]), 1);
        assert_eq!(count(table, 8080, &own, &of("127.0.0.2"), &active), 1);
        assert_eq!(count(table, 8080, &own, &of("127.0.0.3"), &active), 1);
        assert_eq!(count(table, 8080, &of("10.0.0.1"), &[], &active), 0);
        assert_eq!(count(table, 8080, &of("0.0.0.0"), &[], &active), 2);
    }
}
