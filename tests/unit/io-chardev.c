/* io/chardev: options, the multiplexed console, files, pipes, pseudo-terminals, sockets, telnet. */
#include "io/chardev/chardev.h"
#include "io/loop/loop.h"

#include "tests/unit/tap.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static struct loop *loop;
static const char dir[] = "."; /* the test's own folder */
static char error[512];

/* A front end that keeps what it gets. */
struct front {
    size_t room; /* how much it takes at once */
    char got[8192];
    size_t size;
    char events[64];
    unsigned writable;
};

static size_t can_receive(void *opaque)
{
    return ((struct front *)opaque)->room;
}

static void receive(void *opaque, const uint8_t *bytes, size_t size)
{
    struct front *front = opaque;

    if (size > front->room || front->size + size >= sizeof(front->got)) {
        strcat(front->events, "!");
        return;
    }
    memcpy(front->got + front->size, bytes, size);
    front->size += size;
    front->got[front->size] = 0;
}

static void event(void *opaque, enum chardev_event what)
{
    struct front *front = opaque;
    size_t n = strlen(front->events);

    if (n + 2 < sizeof(front->events)) {
        front->events[n] = "ocbiu"[what];
        front->events[n + 1] = 0;
    }
}

static void writable(void *opaque)
{
    ((struct front *)opaque)->writable++;
}

static const struct chardev_handlers handlers = {
    .can_receive = can_receive, .receive = receive, .event = event, .writable = writable};

static void drain(void)
{
    while (loop_iterate(loop, false)) {
    }
}

/* Runs the loop until something is true, for ten seconds at most. */
#define WAIT(condition)                                                 \
    for (int rounds_ = 0; rounds_ < 10000 && !(condition); rounds_++) { \
        if (!loop_iterate(loop, false)) {                               \
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);    \
        }                                                               \
    }

static struct chardev *make(const char *options)
{
    struct chardev *chr = NULL;
    int err = chardev_create(&chr, loop, options, error, sizeof(error));

    if (!tap_ok(!err && chr, "%s", options)) {
        tap_note("%d: %s", err, error);
        exit(tap_done());
    }
    return chr;
}

static void refused(const char *options, int want, const char *message)
{
    struct chardev *chr;
    int err = chardev_create(&chr, loop, options, error, sizeof(error));

    if (!tap_ok(err == want && !chr && strstr(error, message), "refused: %s", options)) {
        tap_note("%d: %s", err, error);
    }
}

static const char *contents(const char *path)
{
    static char text[4096];
    FILE *f = fopen(path, "r");
    size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;

    text[n] = 0;
    if (f) {
        fclose(f);
    }
    return text;
}

static size_t put(struct chardev *chr, const char *text)
{
    return chardev_write(chr, (const uint8_t *)text, strlen(text));
}

/* ---- options --------------------------------------------------------------------------------- */

static void check_options(void)
{
    struct chardev *chr, *other;

    refused("frob,id=a", -EINVAL, "chardev 'frob': expected null");
    refused("", -EINVAL, "expected null");
    refused("null", -EINVAL, "id=");
    refused("null,id=7a", -EINVAL, "id=7a: expected a letter");
    refused("null,id=a,frob=1", -ENOENT, "frob");
    refused("null,id=a,mux=maybe", -EINVAL, "mux=maybe");
    refused("ringbuf,id=a,size=3", -EINVAL, "size=3: expected a power of two");
    refused("file,id=a", -EINVAL, "path= is missing");
    refused("file,id=a,path=/nonexistent/x", -ENOENT, "path=/nonexistent/x: No such file");
    refused("null,id=a,logfile=/nonexistent/x", -ENOENT, "logfile=/nonexistent/x");
    refused("socket,id=a", -EINVAL, "expected one of path=, port= and fd=");
    refused("socket,id=a,path=/x,port=1", -EINVAL, "expected one of path=");
    refused("socket,id=a,port=1,server,reconnect=1", -EINVAL, "server=on has to go");
    refused("socket,id=a,port=1,websocket", -EINVAL, "not supported");
    refused("socket,id=a,fd=999", -EINVAL, "fd=999: expected the number of an open socket");
    refused("socket,id=a,path=/nonexistent/x", -ENOENT, "No such file");
    refused("udp,id=a", -EINVAL, "port= is missing");

    chr = make("null,id=a");
    tap_ok(chardev_find("a") == chr && chardev_at(0) == chr && !chardev_at(1) &&
               !strcmp(chardev_id(chr), "a") && !strcmp(chardev_filename(chr), "null"),
           "it is in the list");
    refused("null,id=a", -EEXIST, "there is one with this id already");
    tap_ok(!chardev_create_legacy(&other, loop, "x", "chardev:a", error, sizeof(error)) &&
               other == chr,
           "chardev:ID is that one");
    tap_eq(chardev_create_legacy(&other, loop, "x", "chardev:b", error, sizeof(error)), -ENODEV,
           "if there is one");
    tap_eq(chardev_create_legacy(&other, loop, "x", "tcp:1234", error, sizeof(error)), -EINVAL,
           "tcp: without a port");
    tap_ok(strstr(error, "'tcp:1234': expected stdio") != NULL, "says what there is");
    tap_eq(chardev_create_legacy(&other, loop, "x", "unix:/nonexistent/x", error, sizeof(error)),
           -ENOENT, "unix: of a client");
    tap_ok(!chardev_create_legacy(&other, loop, "x", "none", error, sizeof(error)), "none");
    chardev_destroy(other);
    tap_eq(put(chr, "gone"), 4, "null takes everything");
    chardev_destroy_all();
    tap_ok(!chardev_at(0), "and none is left");
}

/* ---- rings, files, logs ---------------------------------------------------------------------- */

static void check_simple(void)
{
    struct front front = {.room = 3};
    struct chardev *chr = make("ringbuf,id=r,size=8");
    uint8_t bytes[16] = {0};
    char options[512], path[128];

    put(chr, "0123456789");
    tap_eq(chardev_ringbuf_read(chr, bytes, sizeof(bytes)), 8, "a ring keeps its size");
    tap_str((char *)bytes, "23456789", "of the latest");
    tap_eq(chardev_attach(chr, &handlers, &front), 0, "a front end");
    tap_str(front.events, "o", "is told that it is open");
    tap_eq(chardev_attach(chr, &handlers, &front), -EBUSY, "a second");
    tap_eq(chardev_ringbuf_write(chr, (const uint8_t *)"abcd", 4), 3, "what there is room for");
    tap_str(front.got, "abc", "arrives");
    tap_eq(chardev_attach(chr, NULL, &front), 0, "it goes");
    tap_eq(chardev_ringbuf_write(chr, (const uint8_t *)"abcd", 4), 0, "nobody takes");
    chardev_destroy(chr);

    snprintf(path, sizeof(path), "%s/a,b", dir);
    snprintf(options, sizeof(options), "file:%s", path);
    tap_eq(chardev_create_legacy(&chr, loop, "f", options, error, sizeof(error)), 0,
           "a path with a comma");
    put(chr, "one\n");
    chardev_destroy(chr);
    snprintf(options, sizeof(options), "file,id=f,path=%s/a,,b,append=on,logfile=%s/log", dir, dir);
    chr = make(options);
    put(chr, "two\n");
    chardev_destroy(chr);
    tap_str(contents(path), "one\ntwo\n", "is appended to");
    snprintf(path, sizeof(path), "%s/log", dir);
    tap_str(contents(path), "two\n", "a log");
    snprintf(options, sizeof(options), "null,id=f,logfile=%s,logappend=on", path);
    chr = make(options);
    put(chr, "three\n");
    chardev_destroy(chr);
    tap_str(contents(path), "two\nthree\n", "that is appended to");
    snprintf(options, sizeof(options), "ringbuf,id=r,size=1k,logfile=/dev/full");
    chr = make(options);
    tap_eq(put(chr, "text"), 4, "a log without room changes nothing");
    tap_eq(chardev_ringbuf_read(chr, bytes, sizeof(bytes)), 4, "for the rest");
    chardev_destroy(chr);
}

/* ---- mux ------------------------------------------------------------------------------------- */

static unsigned quits;

static void quit(void *opaque)
{
    quits++;
}

static void type(struct chardev *chr, const char *text, size_t size)
{
    chardev_ringbuf_write(chr, (const uint8_t *)text, size);
}

static void check_mux(void)
{
    static struct front a, b, more[3];
    struct chardev *chr = make("ringbuf,id=m,mux=on");
    char text[2048] = {0};

    a.room = b.room = 64;
    chardev_set_quit(quit, NULL);
    tap_eq(chardev_attach(chr, &handlers, &a) | chardev_attach(chr, &handlers, &b), 0,
           "two front ends");
    type(chr, "x", 1);
    tap_ok(!a.size && !strcmp(b.got, "x"), "the latest has the focus");
    tap_ok(!strcmp(a.events, "oiu") && !strcmp(b.events, "oi"), "and they are told");
    chardev_focus(chr, &a);
    type(chr, "12\1", 3);
    type(chr, "c34\001c\001\0015", 8);
    tap_str(a.got, "12\0015", "Ctrl-A c changes, also in pieces; twice it is itself");
    tap_str(b.got, "x34", "the other's");
    type(chr, "\1b\1z", 4);
    tap_ok(strchr(a.events, 'b') && !strchr(b.events, 'b'), "Ctrl-A b is a break");
    type(chr, "\1x", 2);
    tap_eq(quits, 1, "Ctrl-A x asks to quit");
    chardev_ringbuf_read(chr, (uint8_t *)text, sizeof(text) - 1);
    type(chr, "\1h", 2);
    memset(text, 0, sizeof(text));
    chardev_ringbuf_read(chr, (uint8_t *)text, sizeof(text) - 1);
    tap_ok(strstr(text, "C-a  x    exit emulator\r\n") && strstr(text, "C-a  C-a"),
           "Ctrl-A h helps");
    type(chr, "\1t", 2);
    put(chr, "li");
    put(chr, "ne\nnext");
    memset(text, 0, sizeof(text));
    chardev_ringbuf_read(chr, (uint8_t *)text, sizeof(text) - 1);
    tap_ok(!strncmp(text, "[00:00:00.000] line\n[00:00:", 27) && strstr(text, "] next"),
           "Ctrl-A t shows the time of lines");
    chardev_set_escape(2);
    type(chr, "\2t\001c", 4);
    tap_str(a.got, "12\0015\001c", "another escape character");
    chardev_set_escape(1);

    a.room = 0;
    a.size = 0;
    a.got[0] = 0;
    type(chr, "waits\001b", 7);
    tap_ok(!a.size && strrchr(a.events, 'b') > strchr(a.events, 'b'),
           "a front end that is full: commands still work");
    a.room = 2;
    chardev_accept(chr);
    drain();
    tap_str(a.got, "waits", "it gets the rest when it accepts");
    a.room = 0;
    memset(text, 'y', sizeof(text));
    for (int i = 0; i < 4; i++) {
        type(chr, text, sizeof(text));
    }
    tap_eq(chardev_ringbuf_write(chr, (const uint8_t *)"z", 1), 0, "not without end");
    tap_eq(chardev_attach(chr, &handlers, &more[0]) | chardev_attach(chr, &handlers, &more[1]), 0,
           "four");
    tap_eq(chardev_attach(chr, &handlers, &more[2]), -EBUSY, "no fifth");
    chardev_attach(chr, NULL, &more[1]);
    chardev_attach(chr, NULL, &a);
    chardev_attach(chr, NULL, &more[0]);
    type(chr, "end", 3);
    tap_str(b.got, "x34end", "the last one left has the focus");
    chardev_destroy_all();
}

/* ---- pipes and pseudo-terminals -------------------------------------------------------------- */

static int open_path(const char *suffix, int flags)
{
    char path[128];

    snprintf(path, sizeof(path), "%s%s", dir, suffix);
    return open(path, flags);
}

static bool read_text(int fd, const char *want)
{
    char text[256] = {0};
    size_t n = 0;

    for (int i = 0; i < 5000 && n < strlen(want); i++) {
        ssize_t got = recv(fd, text + n, sizeof(text) - 1 - n, MSG_DONTWAIT);

        if (got < 0 && errno == ENOTSOCK) {
            got = read(fd, text + n, sizeof(text) - 1 - n);
        }
        if (got > 0) {
            n += (size_t)got;
        } else if (!loop_iterate(loop, false)) {
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        }
    }
    return !strcmp(text, want);
}

static void check_pipe(void)
{
    static struct front front = {.room = 4096};
    static uint8_t big[1 << 20];
    char path[128], options[512];
    struct chardev *chr;

    snprintf(path, sizeof(path), "%s/p.in", dir);
    tap_eq(mkfifo(path, 0600), 0, "a FIFO in");
    snprintf(path, sizeof(path), "%s/p.out", dir);
    tap_eq(mkfifo(path, 0600), 0, "a FIFO out");
    snprintf(options, sizeof(options), "pipe,id=p,path=%s/p", dir);
    chr = make(options);
    chardev_attach(chr, &handlers, &front);
    int in = open_path("/p.in", O_WRONLY | O_NONBLOCK);
    int out = open_path("/p.out", O_RDONLY | O_NONBLOCK);

    tap_eq(write(in, "hello", 5), 5, "input");
    WAIT(front.size == 5);
    tap_str(front.got, "hello", "arrives");
    put(chr, "answer");
    tap_ok(read_text(out, "answer"), "output");
    size_t n = chardev_write(chr, big, sizeof(big));

    tap_ok(n > 0 && n < sizeof(big), "a reader that does not read: a short write");
    drain();
    tap_eq(front.writable, 0, "nothing more");
    for (size_t left = n; left;) {
        ssize_t got = read(out, big, sizeof(big));

        if (got <= 0) {
            break;
        }
        left -= (size_t)got;
    }
    WAIT(front.writable);
    tap_eq(front.writable, 1, "until it does");
    front.room = 0;
    chardev_accept(chr);
    drain();
    tap_eq(write(in, "later", 5), 5, "input that nobody takes");
    drain();
    tap_eq(front.size, 5, "stays");
    front.room = 2;
    chardev_accept(chr);
    WAIT(front.size == 10);
    tap_str(front.got, "hellolater", "until somebody does");
    close(in);
    close(out);
    chardev_destroy(chr);
}

static void check_pty(void)
{
    static struct front front = {.room = 64};
    struct chardev *chr;
    char options[512], path[128];

    snprintf(path, sizeof(path), "%s/tty", dir);
    snprintf(options, sizeof(options), "pty,id=t,path=%s", path);
    if (chardev_create(&chr, loop, options, error, sizeof(error))) {
        tap_skip("pty", error);
        return;
    }
    chardev_attach(chr, &handlers, &front);
    tap_ok(!chardev_is_open(chr) && !strncmp(chardev_filename(chr), "pty:/dev/", 9),
           "nobody is there yet");
    tap_eq(put(chr, "lost"), 4, "what is written is lost");
    int fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK);

    WAIT(chardev_is_open(chr));
    tap_str(front.events, "o", "somebody comes");
    put(chr, "raw\r\n");
    tap_ok(read_text(fd, "raw\r\n"), "and reads what comes as it is");
    tap_eq(write(fd, "in\3", 3), 3, "types");
    WAIT(front.size == 3);
    tap_str(front.got, "in\3", "what arrives as it is");
    close(fd);
    WAIT(!chardev_is_open(chr));
    tap_str(front.events, "oc", "and goes");
    chardev_destroy(chr);
    tap_ok(access(path, F_OK), "the link goes too");
}

/* ---- sockets --------------------------------------------------------------------------------- */

static int unix_client(const char *name)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(at.sun_path, sizeof(at.sun_path), "%s/%s", dir, name);
    if (connect(fd, (struct sockaddr *)&at, sizeof(at))) {
        close(fd);
        return -1;
    }
    return fd;
}

static void check_unix(void)
{
    static struct front front = {.room = 64};
    static uint8_t big[1 << 20];
    char spec[512], path[128];
    struct chardev *chr;

    snprintf(path, sizeof(path), "%s/sock", dir);
    snprintf(spec, sizeof(spec), "unix:%s,server,nowait", path);
    tap_eq(chardev_create_legacy(&chr, loop, "u", spec, error, sizeof(error)), 0,
           "unix:PATH,server,nowait");
    chardev_attach(chr, &handlers, &front);
    snprintf(spec, sizeof(spec), "disconnected:unix:%s,server=on", path);
    tap_str(chardev_filename(chr), spec, "its name");
    tap_eq(put(chr, "lost"), 4, "nobody is there");
    for (int i = 0; i < 2; i++) {
        front.size = 0;
        front.events[0] = 0;
        int fd = unix_client("sock");

        WAIT(chardev_is_open(chr));
        tap_str(chardev_filename(chr), spec + strlen("disconnected:"), "a client");
        put(chr, "hi");
        tap_ok(read_text(fd, "hi"), "gets");
        tap_eq(write(fd, "ho", 2), 2, "gives");
        close(fd);
        WAIT(!chardev_is_open(chr));
        tap_ok(front.size == 2 && !strcmp(front.events, "oc"), "and goes");
    }
    int fd = unix_client("sock");

    WAIT(chardev_is_open(chr));
    size_t n = chardev_write(chr, big, sizeof(big));

    tap_ok(n < sizeof(big), "a client that does not read");
    front.writable = 0;
    close(fd);
    chardev_write(chr, big, sizeof(big));
    WAIT(!chardev_is_open(chr));
    tap_eq(front.writable, 1, "frees who waits for it when it goes");
    chardev_destroy(chr);
    tap_ok(access(path, F_OK), "the path is gone");

    /* A path that a killed process has left behind. */
    snprintf(spec, sizeof(spec), "socket,id=u,path=%s,server=on,wait=off", path);
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int dead = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(at.sun_path, sizeof(at.sun_path), "%s/sock", dir);
    tap_eq(bind(dead, (struct sockaddr *)&at, sizeof(at)), 0, "a stale path");
    close(dead);
    chr = make(spec);
    struct chardev *second;

    snprintf(spec, sizeof(spec), "socket,id=v,path=%s,server=on,wait=off", path);
    tap_eq(chardev_create(&second, loop, spec, error, sizeof(error)), -EADDRINUSE,
           "one that is in use");
    chardev_destroy(chr);
}

static int tcp_listener(unsigned *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t size = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

    at.sin_port = htons((uint16_t)*port);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(fd, (struct sockaddr *)&at, sizeof(at)) || listen(fd, 1)) {
        close(fd);
        return -1;
    }
    getsockname(fd, (struct sockaddr *)&at, &size);
    *port = ntohs(at.sin_port);
    return fd;
}

static void check_tcp(void)
{
    static struct front front = {.room = 64};
    unsigned port = 0;
    char options[256];
    struct chardev *chr;
    int listener = tcp_listener(&port), fd = -1;

    snprintf(options, sizeof(options), "socket,id=c,host=127.0.0.1,port=%u,nodelay", port);
    chr = make(options);
    tap_ok(chardev_is_open(chr) && strstr(chardev_filename(chr), "tcp:127.0.0.1:") &&
               strstr(chardev_filename(chr), " <-> 127.0.0.1:"),
           "a client is connected when it is made");
    chardev_destroy(chr);
    close(listener);
    tap_ok(chardev_create(&chr, loop, options, error, sizeof(error)) == -ECONNREFUSED &&
               strstr(error, "Connection refused"),
           "or it is not made");
    snprintf(options, sizeof(options), "socket,id=c,host=127.0.0.1,port=%u,reconnect-ms=5", port);
    chr = make(options);
    chardev_attach(chr, &handlers, &front);
    drain();
    tap_ok(!chardev_is_open(chr), "with reconnect it is");
    listener = tcp_listener(&port);
    for (int i = 0; i < 2; i++) {
        fd = -1;
        WAIT(fd >= 0 || (fd = accept(listener, NULL, NULL)) >= 0);
        WAIT(chardev_is_open(chr));
        tap_ok(chardev_is_open(chr), "and comes when the server does");
        tap_eq(write(fd, "data", 4), 4, "the server sends");
        WAIT(front.size == 4U * (unsigned)(i + 1));
        close(fd);
        WAIT(!chardev_is_open(chr));
    }
    tap_str(front.got, "datadata", "all of it came");
    chardev_destroy(chr);
    close(listener);
}

static void check_telnet(void)
{
    static struct front front = {.room = 64};
    static const uint8_t typed[] = {'a', 255, 253, 1,  255, 255, 'b', 255, 250, 31,  0,
                                    80,  255, 240, 13, 0,   'c', 255, 243, 'd', 255, 254};
    static const uint8_t rest[] = {3, 'e'};
    static const char greeting[] = "\377\373\001\377\373\003\377\373";
    struct chardev *chr;
    char spec[300];
    uint8_t bytes[64];

    snprintf(spec, sizeof(spec), "socket,id=t,path=%s/tel,server=on,wait=off,telnet=on", dir);
    chr = make(spec);
    chardev_attach(chr, &handlers, &front);
    int fd = unix_client("tel");

    WAIT(chardev_is_open(chr));
    tap_ok(read(fd, bytes, 12) == 12 && !memcmp(bytes, greeting, 8), "the greeting");
    tap_eq(write(fd, typed, sizeof(typed)), sizeof(typed), "commands in data");
    tap_eq(write(fd, rest, sizeof(rest)), sizeof(rest), "and in pieces");
    WAIT(front.size == 7);
    tap_str(front.got, "a\377b\rcde", "are taken out");
    tap_str(front.events, "ob", "a break is told");
    tap_eq(put(chr, "x\377y"), 3, "byte 255");
    tap_ok(read(fd, bytes, 4) == 4 && !memcmp(bytes, "x\377\377y", 4), "is doubled");
    close(fd);
    chardev_destroy(chr);
}

static void check_udp(void)
{
    static struct front front = {.room = 3};
    struct sockaddr_in at = {.sin_family = AF_INET}, from;
    socklen_t size = sizeof(at), from_size = sizeof(from);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    char spec[128], bytes[64] = {0};
    struct chardev *chr;

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    tap_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0, "a datagram socket");
    getsockname(fd, (struct sockaddr *)&at, &size);
    snprintf(spec, sizeof(spec), "udp:127.0.0.1:%u@127.0.0.1:0", ntohs(at.sin_port));
    tap_eq(chardev_create_legacy(&chr, loop, "u", spec, error, sizeof(error)), 0, spec);
    chardev_attach(chr, &handlers, &front);
    put(chr, "gram");
    tap_eq(recvfrom(fd, bytes, sizeof(bytes), 0, (struct sockaddr *)&from, &from_size), 4,
           "gets what is written");
    tap_eq(sendto(fd, "answer", 6, 0, (struct sockaddr *)&from, from_size), 6, "answers");
    WAIT(front.size == 6);
    tap_str(front.got, "answer", "which is read in pieces");
    close(fd);
    chardev_destroy(chr);
}

int main(void)
{
    const char *tmp = getenv("TMPDIR");
    char folder[4096], command[4200];

    /* Sockets have short paths only, so the folder is the working directory. */
    snprintf(folder, sizeof(folder), "%s/tinamou-chr-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    loop = loop_create();
    if (!tap_ok(loop && mkdtemp(folder) && !chdir(folder), "a loop and a folder")) {
        return tap_done();
    }
    check_options();
    check_simple();
    check_mux();
    check_pipe();
    check_pty();
    check_unix();
    check_tcp();
    check_telnet();
    check_udp();
    chardev_destroy_all();
    drain();
    loop_destroy(loop);
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    return tap_done() | (system(command) != 0);
}
