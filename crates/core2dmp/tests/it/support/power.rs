//! A volume without power, and with it again: in a file of its own, since not every test takes it away.

use std::process::Command;

use super::sparse::{Volume, run};

impl Volume {
    /// Takes the power from it, whatever is being done there; `false` where that is not possible.
    pub(crate) fn cut_power(&self) -> bool {
        run(Command::new("xfs_io")
            .args(["-x", "-c", "shutdown -f"])
            .arg(self.folder()))
    }

    /// Gives it power again: what had not come to the disk is gone.
    pub(crate) fn restart(&self) {
        assert!(run(Command::new("umount").arg(self.folder())));
        assert!(self.mount());
    }
}
