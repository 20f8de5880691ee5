# Words: the subsets wanted, the folder of local facts, seconds for one slow question. Prints sources as they are, each
# behind a line that begins with the byte 1; what the host does not have is left out.
LC_ALL=C; export LC_ALL
s() { printf '\n\001%s\n' "$1"; }
f() { [ -r "$2" ] && { s "$1"; cat "$2" 2>/dev/null; }; }
w() { case " $wanted " in *" $1 "*) return 0;; esac; return 1; }
has() { command -v "$1" >/dev/null 2>&1; }
limit() { if has timeout; then timeout "$seconds" "$@"; else "$@"; fi; }
one() { if [ -r "$1" ] && IFS= read -r line < "$1" 2>/dev/null; then :; else line=; fi; }
wanted=$1 local_facts=$2 seconds=$3
f os-release /etc/os-release || f os-release /usr/lib/os-release
if w env; then s env; tr '\000' '\001' < /proc/$$/environ 2>/dev/null | tr '\001\n' '\n\001'; fi
if w platform; then
s uname; uname -s; uname -n; uname -r; uname -v; uname -m
s bits; getconf LONG_BIT 2>/dev/null
f machine-id /etc/machine-id || f machine-id /var/lib/dbus/machine-id
f iscsi /etc/iscsi/initiatorname.iscsi
f hostnqn /etc/nvme/hostnqn
s getent; name=$(uname -n); a=$(limit getent hosts "$name" 2>/dev/null) && limit getent hosts "${a%% *}" 2>/dev/null
fi
if w distribution; then
for n in redhat-release centos-release debian_version alpine-release system-release; do f "$n" "/etc/$n"; done
fi
if w lsb; then if has lsb_release; then s lsb; lsb_release -a 2>/dev/null; else f lsb-file /etc/lsb-release; fi; fi
if w date_time; then s date; date '+%Y|%m|%d|%H|%M|%S|%s|%Z|%z|%A|%w|%W|%N'; fi
if w user; then s user; id -u; id -ru 2>/dev/null || id -u; id -g; id -rg 2>/dev/null || id -g
s passwd; u=$(id -un); getent passwd "$u" 2>/dev/null || grep "^$u:" /etc/passwd; fi
w cmdline && f cmdline /proc/cmdline
w dns && f resolv /etc/resolv.conf
w fips && f fips /proc/sys/crypto/fips_enabled
if w apparmor; then s apparmor; [ -d /sys/kernel/security/apparmor ] && echo enabled; fi
if w selinux; then s selinux
if [ -e /sys/fs/selinux/enforce ]; then cat /sys/fs/selinux/enforce; echo; cat /sys/fs/selinux/policyvers 2>/dev/null; echo; grep -E '^(SELINUX|SELINUXTYPE)=' /etc/selinux/config 2>/dev/null; fi; fi
if w caps && has capsh; then s caps; capsh --print 2>/dev/null; fi
w loadavg && f loadavg /proc/loadavg
if w chroot; then s chroot; [ -r /proc/1/root/. ] && stat -c '%d:%i' / /proc/1/root/. 2>/dev/null; fi
if w pkg_mgr; then s pkg_mgr
for p in /usr/bin/dnf5 /usr/bin/dnf-3 /usr/bin/dnf /usr/bin/microdnf /usr/bin/yum /usr/bin/apt-get /usr/bin/zypper /usr/bin/pacman /sbin/apk /usr/bin/emerge /usr/bin/rpm-ostree /usr/bin/dnf4; do [ -e "$p" ] && echo "$p"; done
[ -e /run/ostree-booted ] && echo ostree; fi
if w service_mgr; then s service_mgr; cat /proc/1/comm 2>/dev/null
[ -d /run/systemd/system ] || [ -d /dev/.run/systemd ] || [ -d /dev/.systemd ] && echo +systemd
has openrc && echo +openrc; has initctl && [ -d /etc/init ] && echo +upstart; [ -d /etc/init.d ] && echo +sysvinit; readlink /sbin/init; fi
if w ssh_pub_keys; then for d in /etc/ssh /etc/openssh /etc; do
found=; for k in dsa rsa ecdsa ed25519; do f "ssh-$k" "$d/ssh_host_${k}_key.pub" && found=y; done; [ -n "$found" ] && break; done; fi
if w python; then s python; for p in python3 python; do has "$p" && { command -v "$p"; "$p" -c 'import sys;print(*sys.version_info)' 2>/dev/null; break; }; done; fi
if w processor || w virtual; then f cpuinfo /proc/cpuinfo; s nproc; nproc 2>/dev/null; fi
w memory && f meminfo /proc/meminfo
w uptime && f uptime /proc/uptime
if w dmi || w virtual; then
for n in bios_date bios_vendor bios_version board_asset_tag board_name board_serial board_vendor board_version chassis_asset_tag chassis_serial chassis_type chassis_vendor chassis_version product_name product_serial product_uuid product_version sys_vendor; do f "dmi-$n" /sys/class/dmi/id/$n; done; fi
if w mounts; then
f mounts /proc/mounts
s uuids; for l in /dev/disk/by-uuid/*; do [ -e "$l" ] && printf '%s %s\n' "$(readlink -f "$l")" "${l##*/}"; done
s sizes
grep -E '^(/|[^ ]*:/)' /proc/mounts | while read -r d m t o; do p=$(printf '%b' "$m"); printf '%s ' "$m"; limit stat -f -c '%s %S %b %a %c %d' "$p" 2>/dev/null || echo; done; fi
if w devices; then s devices
for b in /sys/block/*; do [ -e "$b" ] || continue
for q in removable size queue/rotational queue/scheduler queue/hw_sector_size queue/discard_granularity device/vendor device/model device/serial; do one "$b/$q"; printf '%s|' "$line"; done
printf '%s|' "${b##*/}"; for h in "$b"/holders/*; do [ -e "$h" ] && printf '%s ' "${h##*/}"; done; echo
for p in "$b/${b##*/}"*; do [ -e "$p/partition" ] || continue; one "$p/start"; x=$line; one "$p/size"; printf '+%s|%s|%s|%s\n' "${b##*/}" "${p##*/}" "$x" "$line"; done
done; fi
if w network; then
s links
for i in /sys/class/net/*; do [ -d "$i" ] || continue; printf '%s|' "${i##*/}"
for q in address mtu type flags operstate speed bonding/mode bridge/bridge_id; do one "$i/$q"; printf '%s|' "$line"; done
d=$(readlink -f "$i/device" 2>/dev/null); [ -e "$i/device" ] && printf '%s' "${d##*/}"; printf '|'
d=$(readlink -f "$i/device/driver/module" 2>/dev/null); [ -n "$d" ] && [ -e "$d" ] && printf '%s' "${d##*/}"; echo; done
if has ip; then s addresses; ip -o addr show 2>/dev/null
s route4; ip -4 route get 8.8.8.8 2>/dev/null; s route6; ip -6 route get 2404:6800:400a:800::1012 2>/dev/null
s local4; ip -4 route show table local 2>/dev/null; s local6; ip -6 route show table local 2>/dev/null; fi; fi
if w virtual; then
f cgroup1 /proc/1/cgroup; f sys-hypervisor /sys/hypervisor/type
s environ1; { tr '\000' '\n' < /proc/1/environ | grep '^container='; } 2>/dev/null
s virt; for p in /.dockerenv /.dockerinit /run/.containerenv /dev/kvm /proc/vz /proc/bc /proc/xen /run/systemd/container; do [ -e "$p" ] && echo "$p"; done
s modules; cut -d' ' -f1 /proc/modules 2>/dev/null | grep -E '^(kvm|vboxdrv|virtio)$'; fi
if w local && [ -d "$local_facts" ]; then
for p in "$local_facts"/*.fact; do [ -e "$p" ] || continue; n=${p##*/}; n=${n%.fact}
if [ -x "$p" ]; then o=$(limit "$p" 2>&1); r=$?; s "local-$n"; if [ $r = 0 ]; then printf '%s' "$o"; else printf 'Failure executing fact script (%s), rc: %s, err: %s' "$p" "$r" "$o"; fi
else f "local-$n" "$p"; fi; done; fi
s end
