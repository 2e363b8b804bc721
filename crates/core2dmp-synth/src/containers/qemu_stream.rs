//! The guest as QEMU's migration stream, as `migrate "exec:cat>F"` and libvirt write it.
//!
//! ```text
//! QEVM 3 | 7 machine [capabilities] | 1 ram: blocks | 2 ram: pages | 3 ram: pages | 4 devices | 0 | 6 JSON
//! ```
//!
//! References: QEMU, migration/savevm.c, ram.c, vmstate.c; target/i386/machine.c; libvirt, src/qemu/qemu_saveimage.h;
//! hexdumps of files of QEMU 7.2.22 and 10.0.2.

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;

use crate::bytes::{be32, be64, put_bytes, put_u16, put_u32};
use crate::containers::qemu_devices::{Device, cpu, name, plain};
use crate::windows::guest::Guest;
use crate::windows::memory::{HIGH_START, PAGE};

/// The section ids that QEMU gives here.
const RAM_ID: u32 = 2;
const FIRST_DEVICE_ID: u32 = 3;

/// Builds a stream.
#[derive(Clone, Debug)]
pub struct QemuStream<'a> {
    guest: &'a Guest,
    machine: Option<&'static str>,
    low: Option<u64>,
    footers: bool,
    description: bool,
    cmos: bool,
    mapped: bool,
    compressed: bool,
    again: bool,
    nodes: Option<u64>,
    unknown_device: bool,
    libvirt: Option<u32>,
}

impl Guest {
    /// The guest as QEMU's migration stream.
    #[must_use]
    pub fn qemu_stream(&self) -> QemuStream<'_> {
        QemuStream::new(self)
    }
}

impl<'a> QemuStream<'a> {
    pub(crate) fn new(guest: &'a Guest) -> Self {
        Self {
            guest,
            machine: Some("pc-i440fx-10.0"),
            low: None,
            footers: true,
            description: true,
            cmos: true,
            mapped: false,
            compressed: false,
            again: false,
            nodes: None,
            unknown_device: false,
            libvirt: None,
        }
    }

    /// As a machine of before 2.4 writes it: no configuration and no footers.
    #[must_use]
    pub fn old_machine(mut self) -> Self {
        self.machine = None;
        self.footers = false;
        self
    }

    /// Another machine type.
    #[must_use]
    pub fn machine(mut self, name: &'static str) -> Self {
        self.machine = Some(name);
        self
    }

    /// Where the hole below 4 GiB begins (default: behind the last RAM below it).
    #[must_use]
    pub fn low(mut self, bytes: u64) -> Self {
        self.low = Some(bytes);
        self
    }

    /// Leaves the description of the devices out.
    #[must_use]
    pub fn without_description(mut self) -> Self {
        self.description = false;
        self
    }

    /// Leaves the clock with its CMOS memory out.
    #[must_use]
    pub fn without_clock(mut self) -> Self {
        self.cmos = false;
        self
    }

    /// The capability mapped-ram.
    #[must_use]
    pub fn mapped(mut self) -> Self {
        self.mapped = true;
        self
    }

    /// The capability compress.
    #[must_use]
    pub fn compressed(mut self) -> Self {
        self.compressed = true;
        self
    }

    /// As of a guest that ran: many pages were sent before, with other contents, and once more.
    #[must_use]
    pub fn again(mut self) -> Self {
        self.again = true;
        self
    }

    /// Two NUMA nodes; the first has this many bytes.
    #[must_use]
    pub fn nodes(mut self, first: u64) -> Self {
        self.nodes = Some(first);
        self
    }

    /// A device between the RAM's parts, of which nothing tells the size but its footer.
    #[must_use]
    pub fn unknown_device(mut self) -> Self {
        self.unknown_device = true;
        self
    }

    /// Behind libvirt's header, which says this format.
    #[must_use]
    pub fn libvirt(mut self, format: u32) -> Self {
        self.libvirt = Some(format);
        self
    }

    /// Bytes of RAM below the hole, and above 4 GiB.
    fn sizes(&self) -> (u64, u64) {
        let page = PAGE as u64;
        let ends = self.guest.present.iter().map(|run| run.0 + run.1);
        let low = ends
            .clone()
            .filter(|end| *end <= HIGH_START)
            .max()
            .unwrap_or(0)
            * page;
        let end = ends.max().unwrap_or(0);
        let high = end.saturating_sub(HIGH_START) * page;
        (self.low.unwrap_or(low), high)
    }

    /// The frame that is page `page` of the RAM.
    fn frame(&self, page: u64) -> u64 {
        let low = self.sizes().0 / PAGE as u64;
        if page < low {
            page
        } else {
            page - low + HIGH_START
        }
    }

    /// Blocks: name, and bytes. Main memory first, as QEMU has it: the largest.
    fn blocks(&self) -> Vec<(&'static str, u64)> {
        let total = self.sizes().0 + self.sizes().1;
        let mut blocks = match self.nodes {
            // In the order of their size.
            Some(first) => vec![("ram-node1", total - first), ("/objects/ram-node0", first)],
            None => vec![("pc.ram", total)],
        };
        blocks.push(("pc.bios", 0x2000));
        blocks
    }

    fn page(&self, block: &str, page: u64) -> Vec<u8> {
        let mut data = vec![0; PAGE];
        let first = match (block, self.nodes) {
            ("pc.bios", _) => {
                data.fill(0xb1);
                return data;
            }
            ("ram-node1", Some(first)) => first / PAGE as u64,
            _ => 0,
        };
        self.guest
            .frames
            .read_frame(self.frame(first + page), &mut data);
        data
    }

    /// The file.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut file = self.libvirt.map_or_else(Vec::new, libvirt_header);
        file.extend(b"QEVM\0\0\0\x03");
        if let Some(machine) = self.machine {
            file.push(7);
            be32(&mut file, machine.len() as u32);
            file.extend(machine.as_bytes());
            if self.mapped {
                file.push(5);
                name(&mut file, "configuration/capabilities");
                be32(&mut file, 1);
                be32(&mut file, 1);
                name(&mut file, "mapped-ram");
            }
        }
        self.ram(&mut file);
        let mut json = Vec::new();
        for (device, id) in self.devices().iter().zip(FIRST_DEVICE_ID..) {
            file.push(4);
            be32(&mut file, id);
            name(&mut file, device.name);
            be32(&mut file, device.instance);
            be32(&mut file, 1);
            file.extend(&device.data);
            self.footer(&mut file, id);
            json.push(format!(
                "{{\"name\": \"{}\", \"instance_id\": {}, \"version\": 1, \"fields\": [{}], \"subsections\": [{}]}}",
                device.name,
                device.instance,
                device.fields.join(", "),
                device.subsections.join(", ")
            ));
        }
        file.push(0);
        if self.description {
            let json = format!(
                "{{\"page_size\": 4096, \"devices\": [{}]}}",
                json.join(", ")
            );
            file.push(6);
            be32(&mut file, json.len() as u32);
            file.extend(json.as_bytes());
        }
        file
    }

    fn footer(&self, file: &mut Vec<u8>, id: u32) {
        if self.footers {
            file.push(0x7e);
            be32(file, id);
        }
    }

    fn ram(&self, file: &mut Vec<u8>) {
        file.push(1);
        be32(file, RAM_ID);
        name(file, "ram");
        be32(file, 0);
        be32(file, 4);
        let total: u64 = self.blocks().iter().map(|block| block.1).sum();
        be64(file, total | 4);
        for (block, bytes) in self.blocks() {
            name(file, block);
            be64(file, bytes);
            if self.mapped {
                self.mapped_block(file, block, bytes);
            }
        }
        be64(file, 0x10);
        self.footer(file, RAM_ID);
        if self.unknown_device {
            // Its data look like a footer of its own, and go on.
            file.push(1);
            be32(file, 99);
            name(file, "0000:00:05.0/vfio");
            be32(file, 0);
            be32(file, 1);
            file.extend(b"\x7e\0\0\0\x63\xffdata\0\x06\0\0\0\x02{}");
            self.footer(file, 99);
        }
        for (kind, stale) in [(2, true), (3, false)] {
            file.push(kind);
            be32(file, RAM_ID);
            if !self.mapped && (self.again || !stale) {
                self.round(file, stale);
            }
            be64(file, 0x10);
            self.footer(file, RAM_ID);
        }
    }

    /// All pages, or some of them as they were before.
    fn round(&self, file: &mut Vec<u8>, stale: bool) {
        let mut last = "";
        for (block, bytes) in self.blocks() {
            for page in 0..bytes / PAGE as u64 {
                if stale && page % 7 > 2 {
                    continue;
                }
                let mut data = self.page(block, page);
                if stale {
                    data.fill(if page % 7 == 1 { 0 } else { 0x5a });
                }
                let same = if last == block { 0x20 } else { 0 };
                let head = |file: &mut Vec<u8>, flag| {
                    be64(file, (page * PAGE as u64) | flag | same);
                    if same == 0 {
                        name(file, block);
                    }
                };
                if data.iter().all(|byte| *byte == 0) {
                    head(file, 2);
                    file.push(0);
                } else if self.compressed {
                    head(file, 0x100);
                    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
                    encoder.write_all(&data).unwrap();
                    let packed = encoder.finish().unwrap();
                    be32(file, packed.len() as u32);
                    file.extend(packed);
                } else {
                    head(file, 8);
                    file.extend(data);
                }
                last = block;
            }
        }
    }

    /// Header, bitmap, and pages where a MiB begins.
    fn mapped_block(&self, file: &mut Vec<u8>, block: &str, bytes: u64) {
        let pages = bytes / PAGE as u64;
        let bitmap_at = file.len() + 28;
        let mut bitmap = vec![0; pages.div_ceil(64) as usize * 8];
        let pages_at = (bitmap_at + bitmap.len()).next_multiple_of(1 << 20);
        be32(file, 1);
        for value in [PAGE, bitmap_at, pages_at] {
            be64(file, value as u64);
        }
        let mut data = vec![0; bytes as usize];
        for (page, target) in (0..pages).zip(data.chunks_exact_mut(PAGE)) {
            let contents = self.page(block, page);
            if contents.iter().any(|byte| *byte != 0) {
                bitmap[(page / 8) as usize] |= 1 << (page % 8);
                target.copy_from_slice(&contents);
            } else if page % 3 == 0 {
                // It had other contents once; its bit says that it is zero now.
                target.fill(0xee);
            }
        }
        file.extend(bitmap);
        file.resize(pages_at, 0);
        file.extend(data);
    }

    fn devices(&self) -> Vec<Device> {
        let mut devices = vec![plain("timer", 0, &[0x7e; 24])];
        for (vcpu, instance) in self.guest.vcpus.iter().zip(0..) {
            devices.push(plain("cpu_common", instance, &[0, 0, 0, 1, 0, 0, 0, 0]));
            devices.push(cpu(vcpu, instance));
        }
        if self.cmos {
            let (low, high) = self.sizes();
            let mut cmos = vec![0xcc; 128];
            put_u16(&mut cmos, 0x34, (low.saturating_sub(16 << 20) >> 16) as u16);
            put_bytes(&mut cmos, 0x5b, &((high >> 16) as u32).to_le_bytes()[..3]);
            let mut clock = plain("mc146818rtc", 0, &cmos);
            clock.fields =
                vec!["{\"name\": \"cmos_data\", \"type\": \"buffer\", \"size\": 128}".to_owned()];
            devices.push(clock);
        }
        devices.push(plain("globalstate", 0, b"\0\0\0\x08running"));
        devices
    }
}

fn libvirt_header(format: u32) -> Vec<u8> {
    let mut header = vec![0; 92 + 0x1000];
    put_bytes(&mut header, 0, b"LibvirtQemudSave");
    for (at, value) in [(16, 2), (20, 0x1000), (24, 1), (28, format)] {
        put_u32(&mut header, at, value);
    }
    put_bytes(&mut header, 92, b"<domain type='kvm'>QEVM</domain>\0");
    header
}
