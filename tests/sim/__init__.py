"""Seeded simulation of the core: devices, disks and a network in virtual time.

A run is a function of its seed. `world.World` owns time and chance, `disk.Disk` commits late and
forgets on a crash, `network.Network` carries signalling (lossy, doubled, reordered) and channels
(ordered, cut, stalled), `device.Device` is the smallest honest shell around Space, LogWriter,
Session and Dialer, `scenario` makes trouble and asks the oracle.
"""
