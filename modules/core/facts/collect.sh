# Words: the subsets wanted, the folder of local facts, seconds for one slow question. Prints sources as they are, each
# behind a line that begins with the byte 1; what the host does not have is left out. Small files are read by the shell
# itself: a process for each would be most of the time.
LC_ALL=C; export LC_ALL
s() { printf '\n\001%s\n' "$1"; }
f() { [ -r "$2" ] && { s "$1"; cat "$2" 2>/dev/null; }; }
g() { [ -r "$2" ] && { s "$1"; while IFS= read -r line || [ -n "$line" ]; do printf '%s\n' "$line"; done < "$2"; } 2>/dev/null; }
w() { case " $wanted " in *" $1 "*) return 0;; esac; return 1; }
has() { command -v "$1" >/dev/null 2>&1; }
limit() { if has timeout; then timeout "$seconds" "$@"; else "$@"; fi; }
one() { if [ -r "$1" ] && IFS= read -r line < "$1" 2>/dev/null; then :; else line=; fi; }
wanted=$1 local_facts=$2 seconds=$3
f os-release /etc/os-release || f os-release /usr/lib/os-release
if w env; then s env; tr '\000' '\001' < /proc/$$/environ 2>/dev/null | tr '\001\n' '\n\001'; fi
if w platform || w processor; then
s uname
if one /proc/sys/kernel/version; [ -n "$line" ]; then for n in ostype hostname osrelease version; do one /proc/sys/kernel/$n; printf '%s\n' "$line"; done
else for n in s n r v; do uname -$n; done; fi
uname -m; fi
if w platform; then
s bits; getconf LONG_BIT 2>/dev/null
g machine-id /etc/machine-id || g machine-id /var/lib/dbus/machine-id
f iscsi /etc/iscsi/initiatorname.iscsi
f hostnqn /etc/nvme/hostnqn
s getent; one /proc/sys/kernel/hostname; name=${line:-$(uname -n)}; a=$(limit getent hosts "$name" 2>/dev/null) && limit getent hosts "${a%% *}" 2>/dev/null
fi
if w distribution; then
for n in redhat-release centos-release debian_version alpine-release system-release; do f "$n" "/etc/$n"; done
fi
if w lsb; then if has lsb_release; then s lsb; lsb_release -a 2>/dev/null; else f lsb-file /etc/lsb-release; fi; fi
if w date_time; then s date; date '+%Y|%m|%d|%H|%M|%S|%s|%Z|%z|%A|%w|%W|%N'; fi
if w user; then s user; u=
while read -r key real own rest; do case $key in Uid:) u=$own; printf '%s\n%s\n' "$own" "$real";; Gid:) printf '%s\n%s\n' "$own" "$real"; break;; esac; done 2>/dev/null < /proc/self/status
[ -n "$u" ] || { u=$(id -u); echo "$u"; id -ru 2>/dev/null || id -u; id -g; id -rg 2>/dev/null || id -g; }
s passwd; getent passwd "$u" 2>/dev/null || grep "^[^:]*:[^:]*:$u:" /etc/passwd; fi
w cmdline && f cmdline /proc/cmdline
w dns && f resolv /etc/resolv.conf
w fips && g fips /proc/sys/crypto/fips_enabled
if w apparmor; then s apparmor; [ -d /sys/kernel/security/apparmor ] && echo enabled; fi
if w selinux; then s selinux
if [ -e /sys/fs/selinux/enforce ]; then cat /sys/fs/selinux/enforce; echo; cat /sys/fs/selinux/policyvers 2>/dev/null; echo; grep -E '^(SELINUX|SELINUXTYPE)=' /etc/selinux/config 2>/dev/null; fi; fi
if w caps && has capsh; then s caps; capsh --print 2>/dev/null; fi
w loadavg && g loadavg /proc/loadavg
if w chroot; then s chroot; [ -r /proc/1/root/. ] && stat -c '%d:%i' / /proc/1/root/. 2>/dev/null; fi
if w pkg_mgr; then s pkg_mgr
for p in /usr/bin/dnf5 /usr/bin/dnf-3 /usr/bin/dnf /usr/bin/microdnf /usr/bin/yum /usr/bin/apt-get /usr/bin/zypper /usr/bin/pacman /sbin/apk /usr/bin/emerge /usr/bin/rpm-ostree /usr/bin/dnf4; do [ -e "$p" ] && echo "$p"; done
[ -e /run/ostree-booted ] && echo ostree; fi
if w service_mgr; then s service_mgr; one /proc/1/comm; [ -n "$line" ] && printf '%s\n' "$line"
[ -d /run/systemd/system ] || [ -d /dev/.run/systemd ] || [ -d /dev/.systemd ] && echo +systemd
has openrc && echo +openrc; has initctl && [ -d /etc/init ] && echo +upstart; [ -d /etc/init.d ] && echo +sysvinit; readlink /sbin/init; fi
if w ssh_pub_keys; then for d in /etc/ssh /etc/openssh /etc; do
found=; for k in dsa rsa ecdsa ed25519; do g "ssh-$k" "$d/ssh_host_${k}_key.pub" && found=y; done; [ -n "$found" ] && break; done; fi
if w python; then s python; for p in /usr/bin/python3 /usr/libexec/platform-python python3 python; do has "$p" && { command -v "$p"; "$p" -V 2>&1; break; }; done; fi
if w processor || w virtual; then f cpuinfo /proc/cpuinfo; s nproc; nproc 2>/dev/null; fi
w memory && f meminfo /proc/meminfo
w uptime && g uptime /proc/uptime
if w dmi || w virtual; then
for n in bios_date bios_vendor bios_version board_asset_tag board_name board_serial board_vendor board_version chassis_asset_tag chassis_serial chassis_type chassis_vendor chassis_version product_name product_serial product_uuid product_version sys_vendor; do g "dmi-$n" /sys/class/dmi/id/$n; done; fi
if w mounts; then
f mounts /proc/mounts
s uuids; [ -d /dev/disk/by-uuid ] && ls -l /dev/disk/by-uuid | while IFS= read -r line; do case $line in *' -> '*) u=${line%% -> *}; printf '/dev/%s %s\n' "${line##*/}" "${u##* }";; esac; done
s sizes; set --
while read -r d m t o; do case $d in
//*|[!/]*:/*) slow=y;; /*) case $m in *\\*) slow=y;; *) slow=;; esac;; *) continue;; esac
if [ -n "$slow" ]; then p=$(printf '%b' "$m"); printf '%s ' "$m"; limit stat -f -c '%s %S %b %a %c %d' "$p" 2>/dev/null || echo
else set -- "$@" "$m"; fi; done < /proc/mounts
[ $# -gt 0 ] && limit stat -f -c '%n %s %S %b %a %c %d' "$@" 2>/dev/null; fi
if w devices; then s devices
for b in /sys/block/*; do [ -e "$b" ] || continue
for q in removable size queue/rotational queue/scheduler queue/hw_sector_size queue/discard_granularity device/vendor device/model device/serial; do one "$b/$q"; printf '%s|' "$line"; done
printf '%s|' "${b##*/}"; for h in "$b"/holders/*; do [ -e "$h" ] && printf '%s ' "${h##*/}"; done; echo
for p in "$b/${b##*/}"*; do [ -e "$p/partition" ] || continue; one "$p/start"; x=$line; one "$p/size"; printf '+%s|%s|%s|%s\n' "${b##*/}" "${p##*/}" "$x" "$line"; done
done
s disk-links; for k in id label uuid; do [ -d /dev/disk/by-$k ] || continue
ls -l /dev/disk/by-$k | while IFS= read -r line; do case $line in *' -> '*) u=${line%% -> *}; printf '%ss|%s|%s\n' "$k" "${line##*/}" "${u##* }";; esac; done; done
for b in /sys/block/*/slaves/*; do [ -e "$b" ] || continue; x=${b%/slaves/*}; printf 'masters|%s|%s\n' "${b##*/}" "${x##*/}"; done
s fc; for b in /sys/class/fc_host/*/port_name; do one "$b"; [ -n "$line" ] && printf '%s\n' "$line"; done
if has vgs && [ "$(id -u)" = 0 ]; then for k in vgs lvs pvs; do s "lvm-$k"; limit $k --noheadings --nosuffix --units g --separator , 2>/dev/null; done; fi; fi
if w network; then
s links
for i in /sys/class/net/*; do [ -d "$i" ] || continue; printf '%s|' "${i##*/}"
for q in address mtu type flags operstate speed bonding/mode bridge/bridge_id; do one "$i/$q"; printf '%s|' "$line"; done
[ -e "$i/device" ] && { d=$(readlink -f "$i/device" 2>/dev/null); printf '%s' "${d##*/}"; }; printf '|'
[ -e "$i/device/driver/module" ] && { d=$(readlink -f "$i/device/driver/module" 2>/dev/null); printf '%s' "${d##*/}"; }; echo; done
if has ip; then s addresses; ip -o addr show 2>/dev/null
s route4; ip -4 route get 8.8.8.8 2>/dev/null; s route6; ip -6 route get 2404:6800:400a:800::1012 2>/dev/null
s local4; ip -4 route show table local 2>/dev/null; s local6; ip -6 route show table local 2>/dev/null; fi; fi
if w virtual; then
f cgroup1 /proc/1/cgroup; f sys-hypervisor /sys/hypervisor/type
s environ1; { tr '\000' '\n' < /proc/1/environ | grep '^container='; } 2>/dev/null
s virt; for p in /.dockerenv /.dockerinit /run/.containerenv /dev/kvm /proc/vz /proc/bc /proc/xen /run/systemd/container; do [ -e "$p" ] && echo "$p"; done
s modules; [ -r /proc/modules ] && sed -nE 's/^(kvm|vboxdrv|virtio) .*/\1/p' /proc/modules; fi
if w local && [ -d "$local_facts" ]; then
for p in "$local_facts"/*.fact; do [ -e "$p" ] || continue; n=${p##*/}; n=${n%.fact}
if [ -x "$p" ]; then o=$(limit "$p" 2>&1); r=$?; s "local-$n"; if [ $r = 0 ]; then printf '%s' "$o"; else printf 'Failure executing fact script (%s), rc: %s, err: %s' "$p" "$r" "$o"; fi
else f "local-$n" "$p"; fi; done; fi
s end
