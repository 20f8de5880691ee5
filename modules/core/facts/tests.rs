//! Facts read from three kinds of shells, and tables of what hosts print. In: sources; out: the facts that playbooks read.

use serde_json::json;

use super::*;
use crate::core::host::testing::ways;

fn read_of(text: &str, subsets: &[Subset]) -> Facts {
    read(&Sources::parse(&format!("{text}\n\u{1}end\n")), subsets).0
}

#[tokio::test]
async fn every_kind_of_host_tells_the_same_of_itself() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.fact"), "{\"x\": [1]}").unwrap();
    std::fs::write(dir.path().join("b.fact"), "[one]\nKey = v\n more\n").unwrap();
    std::fs::write(dir.path().join("c.fact"), "neither").unwrap();
    let folder = dir.path().display().to_string();
    let mut seen = Vec::new();
    for platform in ways() {
        let (mut facts, warnings) = gather(&platform, Subset::ALL, &folder, 5).await.unwrap();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert_eq!(facts["ansible_local"]["a"], json!({"x": [1]}));
        assert_eq!(
            facts["ansible_local"]["b"],
            json!({"one": {"key": "v\nmore"}})
        );
        assert_eq!(facts["ansible_env"]["PATH_OF_TEST"], "v w");
        assert!(facts["ansible_memtotal_mb"].as_u64().unwrap() > 0);
        // What moves by itself, and what the tools of busybox do not know.
        facts.retain(|name, _| {
            [
                "distribution",
                "os_family",
                "kernel",
                "default_",
                "interfaces",
                "user_",
                "processor",
                "all_ipv",
            ]
            .iter()
            .any(|part| name.contains(part))
        });
        seen.push(facts);
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0], seen[2]);
}

#[test]
fn subsets_are_chosen_as_ansible_chooses() {
    let names = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        wanted(&words).unwrap()
    };
    assert_eq!(names(&["all"]), Subset::ALL);
    assert_eq!(names(&["!all"]).len(), 17);
    assert_eq!(names(&["!all", "!min"]), []);
    assert_eq!(names(&["!all", "!min", "network"]), [Subset::Network]);
    assert!(!names(&["!hardware"]).contains(&Subset::Memory));
    assert!(names(&["network"]).contains(&Subset::Distribution));
    assert!(!names(&["network"]).contains(&Subset::Memory));
    let unknown = wanted(&["nonsense".to_owned()]).unwrap_err();
    assert_eq!(unknown.argument.as_deref(), Some("gather_subset"));
}

#[test]
fn the_subset_of_every_fact_is_known() {
    for subset in Subset::ALL {
        let (facts, _) = read(&Sources::parse(""), &[*subset]);
        for name in facts.keys() {
            assert_eq!(of_fact(name), Some(*subset), "{name}");
        }
    }
    assert_eq!(of_fact("ansible_eth0"), None);
}

#[test]
fn systems_are_named_as_ansible_names_them() {
    let table = [
        (
            "ID=\"rhel\"\nVERSION_ID=\"9.4\"",
            "Red Hat Enterprise Linux release 9.4 (Plow)",
            "RedHat",
            "RedHat",
            "9.4",
            "9",
            "Plow",
        ),
        (
            "ID=fedora\nVERSION_ID=41",
            "Fedora release 41 (Forty One)",
            "Fedora",
            "RedHat",
            "41",
            "41",
            "Forty One",
        ),
        (
            "ID=ubuntu\nID_LIKE=debian\nVERSION_ID=\"24.04\"\nVERSION_CODENAME=noble",
            "",
            "Ubuntu",
            "Debian",
            "24.04",
            "24",
            "noble",
        ),
        (
            "ID=alpine\nVERSION_ID=3.20.3",
            "",
            "Alpine",
            "Alpine",
            "3.20.3",
            "3",
            "NA",
        ),
        (
            "ID=mine\nNAME=Mine\nID_LIKE=\"rhel fedora\"\nVERSION_ID=1",
            "",
            "Mine",
            "RedHat",
            "1",
            "1",
            "NA",
        ),
    ];
    for (release, red_hat, name, family, version, major, codename) in table {
        let text = format!("\n\u{1}os-release\n{release}\n\n\u{1}redhat-release\n{red_hat}\n");
        let facts = read_of(&text, &[Subset::Distribution]);
        let got = [
            "distribution",
            "os_family",
            "distribution_version",
            "distribution_major_version",
            "distribution_release",
        ]
        .map(|name| {
            facts[&format!("ansible_{name}")]
                .as_str()
                .unwrap()
                .to_owned()
        });
        assert_eq!(got, [name, family, version, major, codename]);
    }
}

#[test]
fn a_second_address_and_a_label_are_kept_apart() {
    let text = "\n\u{1}links\neth0|02:00:00:00:00:01|1500|1|0x1103|up|1000||||\n\n\u{1}addresses\n2: eth0    inet 10.0.0.5/24 brd 10.0.0.255 scope global eth0\\ valid_lft forever\n2: eth0    inet 10.0.0.6/24 scope global secondary eth0\\ valid_lft forever\n2: eth0    inet 10.0.1.1/32 scope global eth0:1\n\n\u{1}route4\n8.8.8.8 via 10.0.0.1 dev eth0 src 10.0.0.6 uid 0\n";
    let facts = read_of(text, &[Subset::Network]);
    assert_eq!(facts["ansible_eth0"]["promisc"], true);
    assert_eq!(facts["ansible_eth0"]["ipv4"]["network"], "10.0.0.0");
    assert_eq!(
        facts["ansible_eth0"]["ipv4_secondaries"][0]["address"],
        "10.0.0.6"
    );
    assert_eq!(
        facts["ansible_eth0_1"]["ipv4"]["netmask"],
        "255.255.255.255"
    );
    assert_eq!(facts["ansible_default_ipv4"]["address"], "10.0.0.6");
    assert_eq!(facts["ansible_default_ipv4"]["gateway"], "10.0.0.1");
}

#[test]
fn disks_have_their_other_names_and_what_is_built_on_them() {
    let text = "\n\u{1}devices\n0|2048|0|[none] x|512|512|V|M||sda|\n+sda|sda1|8|1024\n\n\u{1}disk-links\nids|sda1|wwn-0x2\nids|sda1|ata-1\nuuids|sda1|0a-1\nlabels|sda1|root\nmasters|sda1|dm-0\n\n\u{1}fc\n0x21000024ff52a9bb\n\n\u{1}lvm-vgs\n  vg0,1,2,0,wz--n-,10.00,4.00\n\n\u{1}lvm-lvs\n  root,vg0,-wi-ao----,6.00\n\n\u{1}lvm-pvs\n  /dev/sda1,vg0,lvm2,a--,10.00,4.00\n";
    let facts = read_of(text, &[Subset::Devices]);
    let links = &facts["ansible_device_links"];
    assert_eq!(links["ids"], json!({"sda1": ["ata-1", "wwn-0x2"]}));
    assert_eq!(links["masters"], json!({"sda1": ["dm-0"]}));
    let disk = &facts["ansible_devices"]["sda"];
    assert_eq!(disk["links"]["uuids"], json!([]));
    assert_eq!(disk["partitions"]["sda1"]["uuid"], "0a-1");
    assert_eq!(
        disk["partitions"]["sda1"]["links"]["labels"],
        json!(["root"])
    );
    assert_eq!(
        facts["ansible_fibre_channel_wwn"],
        json!(["21000024ff52a9bb"])
    );
    assert_eq!(
        facts["ansible_lvm"],
        json!({
            "vgs": {"vg0": {"size_g": "10.00", "free_g": "4.00", "num_lvs": "2", "num_pvs": "1"}},
            "lvs": {"root": {"size_g": "6.00", "vg": "vg0"}},
            "pvs": {"/dev/sda1": {"size_g": "10.00", "free_g": "4.00", "vg": "vg0"}},
        })
    );
    assert_eq!(read_of("", &[Subset::Devices])["ansible_lvm"], "N/A");
}
