# Sockets of character devices and network back ends.

src-io += io/socket/socket.c
