package sqlitelock

const setLock = 90 // F_OFD_SETLK, bsd/sys/fcntl_private.h of XNU
