"""Push: waking a device that has no socket. A wake-up says nothing: no content, no name, no id; the device comes and reads its mailbox."""
