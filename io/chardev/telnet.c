/*
 * Telnet (RFC 854) as a serial port needs it: binary in both directions (RFC 856), echo and
 * suppressed go-ahead on our side (RFC 857, 858), so that the client's terminal is raw. Answers to
 * our offers are not looked at: a client that refuses gets bytes all the same.
 *
 * Data byte 255 is doubled. What the descriptor does not take of a doubled byte or of the greeting
 * is held and goes first next time.
 */
#include "io/chardev/internal.h"

#include <string.h>

enum {
    IAC = 255,
    DONT = 254,
    DO = 253,
    WILL = 251,
    SB = 250, /* begins a subnegotiation, which SE ends */
    BREAK = 243,
    SE = 240,
    OPTION_BINARY = 0,
    OPTION_ECHO = 1,
    OPTION_NO_GO_AHEAD = 3,
};

enum { STATE_DATA, STATE_IAC, STATE_OPTION, STATE_SUB, STATE_SUB_IAC };

void telnet_greet(struct telnet *telnet)
{
    static const uint8_t greeting[] = {IAC, WILL, OPTION_ECHO,   IAC, WILL, OPTION_NO_GO_AHEAD,
                                       IAC, WILL, OPTION_BINARY, IAC, DO,   OPTION_BINARY};

    memcpy(telnet->out, greeting, sizeof(greeting));
    telnet->held = sizeof(greeting);
}

size_t telnet_filter(struct telnet *telnet, uint8_t *bytes, size_t size, bool *is_break)
{
    size_t kept = 0;

    *is_break = false;
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = bytes[i];

        switch (telnet->state) {
        case STATE_DATA:
            if (byte == IAC) {
                telnet->state = STATE_IAC;
            } else if (byte || !telnet->cr) {
                bytes[kept++] = byte; /* a zero behind a carriage return is padding */
            }
            telnet->cr = byte == '\r';
            break;
        case STATE_IAC:
            telnet->state = STATE_DATA;
            if (byte == IAC) {
                bytes[kept++] = byte;
            } else if (byte == SB) {
                telnet->state = STATE_SUB;
            } else if (byte >= WILL && byte <= DONT) {
                telnet->state = STATE_OPTION;
            } else if (byte == BREAK) {
                *is_break = true;
            }
            break;
        case STATE_OPTION:
            telnet->state = STATE_DATA;
            break;
        case STATE_SUB:
            telnet->state = byte == IAC ? STATE_SUB_IAC : STATE_SUB;
            break;
        default:
            telnet->state = byte == SE ? STATE_DATA : STATE_SUB;
            break;
        }
    }
    return kept;
}

/* True when nothing is held any more. */
static bool write_held(struct telnet *telnet, struct stream *stream)
{
    size_t n = telnet->held ? stream_write(stream, telnet->out, telnet->held) : 0;

    telnet->held -= n;
    memmove(telnet->out, telnet->out + n, telnet->held);
    return !telnet->held;
}

size_t telnet_write(struct telnet *telnet, struct stream *stream, const uint8_t *bytes, size_t size)
{
    size_t done = 0;

    while (write_held(telnet, stream) && done < size) {
        const uint8_t *iac = memchr(bytes + done, IAC, size - done);
        size_t run = iac ? (size_t)(iac - bytes) - done : size - done;

        if (run) {
            size_t n = stream_write(stream, bytes + done, run);

            done += n;
            if (n < run) {
                break;
            }
        } else {
            telnet->out[0] = telnet->out[1] = IAC;
            telnet->held = 2;
            done++;
        }
    }
    return done;
}
