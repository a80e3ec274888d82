//! The machine below the engine (manual 2): names, clock, kernel.

pub mod cloud_init;
pub(crate) mod facts;
pub mod hostname;
pub mod hosts;
pub mod kernel_modules;
pub mod reboot;
pub mod removal;
pub mod sysctl;
pub mod time_sync;

super::actions! {
    Machine:
    /// The host name.
    Hostname(hostname),
    /// What cloud-init would rewrite.
    CloudInit(cloud_init),
    /// The nodes' names.
    Hosts(hosts),
    /// The clock.
    TimeSync(time_sync),
    /// Kernel parameters.
    Sysctl(sysctl),
    /// Kernel modules.
    KernelModules(kernel_modules),
    /// Starting it anew.
    Reboot(reboot),
    /// Taking off what was made of it.
    Removal(removal),
}
