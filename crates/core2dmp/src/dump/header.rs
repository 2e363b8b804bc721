//! Builds the header of a dump, field by field, from facts.
//!
//! Windows fills a header with "PAGE" first; unknown fields keep that filling, as in its own dumps. So do runs that
//! do not fit: the bitmap behind such a header names the pages.

use zerocopy::{FromBytes, FromZeros, IntoBytes};

use super::planned::Plan;
use crate::container::Guest;
use crate::format::dump_values::{
    ATTRIBUTE_LIVE, ATTRIBUTE_OFFLINE, SIGNATURE, VALID_DUMP32, VALID_DUMP64, WRITER_STATUS_SUCCESS,
};
use crate::format::dump32::{ExceptionRecord32, Header32, Run32};
use crate::format::dump64::{ExceptionRecord64, Header64, Run64};
use crate::format::put_at;
use crate::memory::Frames;
use crate::paging::PagingMode;
use crate::windows::{Fact, ProcessorContext, Windows};

/// The bytes of the header for this plan.
pub(super) fn build(guest: &Guest, windows: &Windows, plan: &Plan) -> Vec<u8> {
    let facts = Facts {
        guest,
        windows,
        plan,
    };
    if windows.mode.is_64bit() {
        facts.header64().as_bytes().to_vec()
    } else {
        facts.header32().as_bytes().to_vec()
    }
}

struct Facts<'a> {
    guest: &'a Guest,
    windows: &'a Windows,
    plan: &'a Plan,
}

/// A structure of "PAGE".
fn not_set<T: FromBytes + IntoBytes>() -> T {
    let mut value = T::new_zeroed();
    let (words, _) = value.as_mut_bytes().as_chunks_mut::<4>();
    words.fill(SIGNATURE);
    value
}

/// The low half: values that a 32-bit header holds.
const fn low(value: u64) -> u32 {
    (value & 0xffff_ffff) as u32
}

fn value<T: Copy>(fact: Option<&Fact<T>>) -> Option<T> {
    fact.map(|fact| fact.value)
}

impl Facts<'_> {
    fn header64(&self) -> Header64 {
        let windows = self.windows;
        let bugcheck = &windows.bugcheck.value;
        let mut header: Header64 = not_set();
        header.signature = SIGNATURE;
        header.valid_dump = VALID_DUMP64;
        header
            .major_version
            .set(u32::from(windows.version.flavour.value));
        if let Some(build) = value(windows.version.build.as_ref()) {
            header.minor_version.set(build);
        }
        header.directory_table_base.set(self.plan.root.gpa().get());
        if let Some(pfn_database) = value(windows.pfn_database.as_ref()) {
            header.pfn_database.set(pfn_database.get());
        }
        header
            .ps_loaded_module_list
            .set(windows.module_list.value.get());
        header
            .ps_active_process_head
            .set(windows.process_list.value.get());
        header.machine_image_type.set(windows.machine());
        header.number_processors.set(self.processors());
        header.bug_check_code.set(bugcheck.code);
        header.bug_check_parameters = bugcheck.parameters.map(Into::into);
        header
            .kd_debugger_data_block
            .set(windows.kdbg.value.gva.get());
        self.put_runs64(&mut header);
        self.put_context(&mut header.context_record);
        header.exception = self.exception64();
        header.dump_type.set(self.plan.dump_type);
        header.required_dump_space.set(self.plan.image.size());
        if let Some(time) = value(windows.system_time.as_ref()) {
            header.system_time.set(time);
        }
        header.comment = self.comment();
        if let Some(time) = value(windows.up_time.as_ref()) {
            header.system_up_time.set(time);
        }
        header.secondary_data_state.set(0);
        if let Some(product) = value(windows.product_type.as_ref()) {
            header.product_type.set(product);
        }
        if let Some(suite) = value(windows.suite_mask.as_ref()) {
            header.suite_mask.set(suite);
        }
        header.writer_status.set(WRITER_STATUS_SUCCESS);
        header.kd_secondary_version = windows.version.kd_secondary;
        header.attributes.set(self.attributes());
        header
    }

    fn header32(&self) -> Header32 {
        let windows = self.windows;
        let bugcheck = &windows.bugcheck.value;
        let mut header: Header32 = not_set();
        header.signature = SIGNATURE;
        header.valid_dump = VALID_DUMP32;
        header
            .major_version
            .set(u32::from(windows.version.flavour.value));
        if let Some(build) = value(windows.version.build.as_ref()) {
            header.minor_version.set(build);
        }
        header
            .directory_table_base
            .set(low(self.plan.root.gpa().get()));
        if let Some(pfn_database) = value(windows.pfn_database.as_ref()) {
            header.pfn_database.set(low(pfn_database.get()));
        }
        header
            .ps_loaded_module_list
            .set(low(windows.module_list.value.get()));
        header
            .ps_active_process_head
            .set(low(windows.process_list.value.get()));
        header.machine_image_type.set(windows.machine());
        header.number_processors.set(self.processors());
        header.bug_check_code.set(bugcheck.code);
        header.bug_check_parameters = bugcheck.parameters.map(|parameter| low(parameter).into());
        header.pae_enabled = u8::from(windows.mode == PagingMode::X86Pae);
        header.kd_secondary_version = windows.version.kd_secondary;
        header
            .kd_debugger_data_block
            .set(low(windows.kdbg.value.gva.get()));
        self.put_runs32(&mut header);
        self.put_context(&mut header.context_record);
        header.exception = self.exception32();
        header.comment = self.comment();
        header.attributes.set(self.attributes());
        header.dump_type.set(self.plan.dump_type);
        header.secondary_data_state.set(0);
        if let Some(product) = value(windows.product_type.as_ref()) {
            header.product_type.set(product);
        }
        if let Some(suite) = value(windows.suite_mask.as_ref()) {
            header.suite_mask.set(suite);
        }
        header.writer_status.set(WRITER_STATUS_SUCCESS);
        header.required_dump_space.set(self.plan.image.size());
        if let Some(time) = value(windows.up_time.as_ref()) {
            header.system_up_time.set(time);
        }
        if let Some(time) = value(windows.system_time.as_ref()) {
            header.system_time.set(time);
        }
        header
    }

    /// The runs, if the header has room for all of them.
    fn put_runs64(&self, header: &mut Header64) {
        if self.plan.runs.len() <= header.runs.len() {
            header.number_of_runs.set(low(self.plan.runs.len() as u64));
            header.number_of_pages.set(self.pages());
            for (slot, run) in header.runs.iter_mut().zip(&self.plan.runs) {
                *slot = Run64 {
                    base_page: run.first.get().into(),
                    page_count: run.count.into(),
                };
            }
        }
    }

    /// The runs, if the header has room for all of them.
    fn put_runs32(&self, header: &mut Header32) {
        if self.plan.runs.len() <= header.runs.len() {
            header.number_of_runs.set(low(self.plan.runs.len() as u64));
            header.number_of_pages.set(low(self.pages()));
            for (slot, run) in header.runs.iter_mut().zip(&self.plan.runs) {
                *slot = Run32 {
                    base_page: low(run.first.get()).into(),
                    page_count: low(run.count).into(),
                };
            }
        }
    }

    /// The registers of the processor that crashed.
    fn put_context(&self, record: &mut [u8]) {
        if let Some(crashed) = self.plan.crash.crashed() {
            let fits = put_at(record, 0, &crashed.context);
            debug_assert!(
                fits,
                "every CONTEXT is smaller than the header's room for it"
            );
        }
    }

    fn exception64(&self) -> ExceptionRecord64 {
        let exception = &self.plan.crash.exception.value;
        let mut record = ExceptionRecord64::new_zeroed();
        record.code.set(exception.code);
        record.flags.set(exception.flags);
        record.address.set(exception.address.get());
        record
            .parameters
            .set(low(exception.parameters.len() as u64));
        for (slot, parameter) in record.information.iter_mut().zip(&exception.parameters) {
            slot.set(*parameter);
        }
        record
    }

    fn exception32(&self) -> ExceptionRecord32 {
        let exception = &self.plan.crash.exception.value;
        let mut record = ExceptionRecord32::new_zeroed();
        record.code.set(exception.code);
        record.flags.set(exception.flags);
        record.address.set(low(exception.address.get()));
        record
            .parameters
            .set(low(exception.parameters.len() as u64));
        for (slot, parameter) in record.information.iter_mut().zip(&exception.parameters) {
            slot.set(low(*parameter));
        }
        record
    }

    fn processors(&self) -> u32 {
        self.windows.processor_count.value
    }

    fn pages(&self) -> u64 {
        Frames::total(&self.plan.runs)
    }

    /// Made from outside, and live unless the guest had crashed.
    fn attributes(&self) -> u32 {
        if self.windows.bugcheck.value.crashed {
            ATTRIBUTE_OFFLINE
        } else {
            ATTRIBUTE_OFFLINE | ATTRIBUTE_LIVE
        }
    }

    /// Who made the dump, and whether its map was guessed; a zero ends it.
    fn comment(&self) -> [u8; 128] {
        let container = &self.guest.container;
        let salvaged = container.salvaged.as_ref().map_or(
            "",
            |_| "; SALVAGED: the core was cut short, its frames were numbered by rule",
        );
        let mut contexts = self.plan.crash.contexts.iter();
        let earlier = if contexts.any(ProcessorContext::is_earlier) {
            "; registers of an earlier moment"
        } else {
            ""
        };
        let text = format!(
            "core2dmp {} from {}{salvaged}{earlier}",
            env!("CARGO_PKG_VERSION"),
            container.title
        );
        let mut comment = [0; 128];
        let (body, _) = comment.split_at_mut(127);
        for (slot, byte) in body.iter_mut().zip(text.bytes()) {
            *slot = byte;
        }
        comment
    }
}
