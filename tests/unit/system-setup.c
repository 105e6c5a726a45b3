/* What options compute: topology of vCPUs, offset of the clock. */
#include "system/setup.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "tests/unit/tap.h"

static char error[512];

static void topology(const char *text, unsigned cpus, unsigned max, unsigned sockets,
                     unsigned cores, unsigned threads)
{
    struct machine_smp smp;
    int err = setup_smp(text, 512, &smp, error, sizeof(error));

    tap_ok(!err && smp.cpus == cpus && smp.max_cpus == max && smp.sockets == sockets &&
               smp.cores == cores && smp.threads == threads && smp.clusters == 1,
           "-smp %s", text ? text : "(not given)");
}

static void refused(const char *text)
{
    struct machine_smp smp;

    *error = 0;
    tap_ok(setup_smp(text, 512, &smp, error, sizeof(error)) < 0 && *error, "-smp %s is refused",
           text);
}

static void test_smp(void)
{
    topology(NULL, 1, 1, 1, 1, 1);
    topology("4", 4, 4, 1, 4, 1);
    topology("cpus=4,maxcpus=8", 4, 8, 1, 8, 1);
    topology("sockets=2,cores=2,threads=2", 8, 8, 2, 2, 2);
    topology("8,sockets=2", 8, 8, 2, 4, 1);
    topology("8,cores=2", 8, 8, 4, 2, 1);
    topology("8,sockets=2,cores=2", 8, 8, 2, 2, 2);
    topology("8,sockets=2,dies=1,clusters=1,cores=4,threads=1", 8, 8, 2, 4, 1);
    topology("8,dies=2", 8, 8, 1, 4, 1);
    topology("maxcpus=512", 512, 512, 1, 512, 1);
    refused("0");
    refused("513");
    refused("4,maxcpus=2");
    refused("3,sockets=2");
    refused("sockets=512,cores=512");
    refused("sockets=512,cores=512,threads=512,clusters=512");
    refused("1,sockets=256,dies=256,clusters=256,threads=256");
    refused("1,dies=256,clusters=256,cores=256,threads=256");
    refused("cpus=");
    refused("1,foo=2");
}

static void test_rtc(void)
{
    int64_t offset = 1;
    struct tm tm = {.tm_year = 106, .tm_mon = 5, .tm_mday = 17, .tm_hour = 16, .tm_min = 1};
    int64_t want = (int64_t)(timegm(&tm) - time(NULL));

    tap_ok(!setup_rtc(NULL, &offset, error, sizeof(error)) && offset == 0, "-rtc is not given");
    tap_ok(!setup_rtc("base=utc,clock=host", &offset, error, sizeof(error)) && offset == 0,
           "-rtc base=utc");
    tap_ok(!setup_rtc("base=2006-06-17T16:01:00", &offset, error, sizeof(error)) &&
               llabs(offset / 1000000000 - want) < 60,
           "-rtc base=DATE");
    tap_ok(!setup_rtc("base=2006-06-17", &offset, error, sizeof(error)) &&
               llabs(offset / 1000000000 - want + 57660) < 60,
           "-rtc base= a day");
    setenv("TZ", "TST-3", 1);
    tap_ok(!setup_rtc("base=localtime", &offset, error, sizeof(error)) &&
               offset == INT64_C(3) * 3600 * 1000000000,
           "-rtc base=localtime");
    tap_ok(setup_rtc("base=now", &offset, error, sizeof(error)) == -EINVAL, "-rtc base= nonsense");
    tap_ok(setup_rtc("base=9999999-01-01", &offset, error, sizeof(error)) == -EINVAL,
           "-rtc base= too far away");
    tap_ok(setup_rtc("bases=utc", &offset, error, sizeof(error)) == -EINVAL, "-rtc bases=");
}

static void test_uuid(void)
{
    static const uint8_t want[16] = {0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0,
                                     0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef};
    uint8_t uuid[16];

    setup_uuid("12345678-9abc-DEF0-0123-456789abcdef", uuid);
    tap_ok(memcmp(uuid, want, 16) == 0, "-uuid");
    setup_uuid(NULL, uuid);
    tap_ok(uuid[0] == 0 && memcmp(uuid, uuid + 1, 15) == 0, "no -uuid");
}

int main(void)
{
    test_uuid();
    test_smp();
    test_rtc();
    return tap_done();
}
