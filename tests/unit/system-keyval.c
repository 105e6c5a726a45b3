/* Lists of names and values: commas, bare words, JSON, kinds of values, what is left over. */
#include "system/keyval.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

#include "tests/unit/tap.h"

static char error[256];

static bool is(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static void test_text(void)
{
    struct keyval list;
    char *text;

    tap_ok(!keyval_parse(&list, "-x", "first,a=1,b=2,,3,c,a=4,d=", "kind", error, sizeof(error)) &&
               list.count == 6,
           "a list has its settings");
    tap_ok(is(keyval_get(&list, "kind"), "first"), "a bare word in front is the implied name's");
    tap_ok(is(keyval_get(&list, "b"), "2,3"), "a doubled comma is a comma");
    tap_ok(is(keyval_get(&list, "c"), "on"), "a bare word elsewhere is on");
    tap_ok(is(keyval_get(&list, "d"), ""), "a value may be empty");
    tap_ok(is(keyval_take(&list, "a"), "4"), "of equal names the last counts");
    tap_ok(!keyval_get(&list, "e"), "what is not there is NULL");
    (void)keyval_take(&list, "kind");
    text = keyval_to_text(&list);
    tap_ok(is(text, "b=2,,3,c=on,d="), "what is left goes back to text");
    free(text);
    tap_ok(keyval_finish(&list, error, sizeof(error)) == -EINVAL && strstr(error, "b=2,3"),
           "what nobody took is an error that names it");
    keyval_free(&list);
    tap_ok(!keyval_parse(&list, "-x", "", "kind", error, sizeof(error)) && list.count == 0 &&
               !keyval_finish(&list, error, sizeof(error)),
           "an empty list is one");
    tap_ok(keyval_parse(&list, "-x", "a=1,=2", NULL, error, sizeof(error)) == -EINVAL,
           "a name may not be empty");
}

static void test_json(void)
{
    struct keyval list;
    struct json_t *json;
    char deep[200];

    tap_ok(!keyval_parse(&list, "-x",
                         "{\"driver\": \"raw\", \"size\": 5, \"on\": true,"
                         " \"file\": {\"name\": \"a,b\", \"list\": [\"x\", 2]}}",
                         "kind", error, sizeof(error)) &&
               list.count == 6,
           "JSON is a list too");
    tap_ok(is(keyval_get(&list, "file.name"), "a,b"), "nested names are joined");
    tap_ok(is(keyval_get(&list, "file.list.1"), "2"), "elements of arrays are numbered");
    tap_ok(is(keyval_get(&list, "on"), "on") && is(keyval_get(&list, "size"), "5"),
           "numbers and truth are text");
    (void)keyval_take(&list, "size");
    json = keyval_to_json(&list, error, sizeof(error));
    tap_ok(json && json_object_size(json) == 5 &&
               is(json_string_value(json_object_get(json, "file.name")), "a,b"),
           "what is left goes back to JSON");
    json_decref(json);
    keyval_free(&list);
    tap_ok(keyval_parse(&list, "-x", "{\"a\": null}", NULL, error, sizeof(error)) == -EINVAL,
           "null is no value");
    tap_ok(keyval_parse(&list, "-x", "{\"a\": 1, \"a\": 2}", NULL, error, sizeof(error)) == -EINVAL,
           "names are unique in JSON");
    memset(deep, 0, sizeof(deep));
    for (int i = 0; i < 30; i++) {
        strcat(deep, "{\"a\":");
    }
    strcat(deep, "1");
    for (int i = 0; i < 30; i++) {
        strcat(deep, "}");
    }
    tap_ok(keyval_parse(&list, "-x", deep, NULL, error, sizeof(error)) == -EINVAL &&
               strstr(error, "deeply"),
           "nesting has an end");
}

static void test_values(void)
{
    static const char *const names[] = {"red", "green", "blue", NULL};
    static const struct {
        const char *text;
        uint64_t value;
        bool good;
    } sizes[] = {
        {"1", 1 << 20, true}, {"1.5G", 3ull << 29, true},
        {"4k", 4096, true},   {"0x10", 16 << 20, true},
        {"16E", 0, false},    {"", 0, false},
        {"-1", 0, false},     {"1KB", 0, false},
        {"nan", 0, false},    {"1e30", 0, false},
        {"7B", 7, true},
    };
    struct keyval list;
    bool flag = false;
    uint64_t number = 0;
    int choice = 0;

    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint64_t value = 0;
        int err = keyval_parse_size(sizes[i].text, 1 << 20, &value);

        tap_ok(sizes[i].good ? !err && value == sizes[i].value : err == -EINVAL, "size '%s'",
               sizes[i].text);
    }
    (void)keyval_parse(&list, "-x", "a=yes,b=12,c=blue,d=maybe,e=12x,f=white,g=-3", NULL, error,
                       sizeof(error));
    tap_ok(keyval_take_bool(&list, "a", &flag, error, sizeof(error)) == 1 && flag, "yes is on");
    tap_ok(keyval_take_number(&list, "b", &number, error, sizeof(error)) == 1 && number == 12,
           "a number");
    tap_ok(keyval_take_enum(&list, "c", names, &choice, error, sizeof(error)) == 1 && choice == 2,
           "one of several names");
    tap_ok(keyval_take_bool(&list, "d", &flag, error, sizeof(error)) == -EINVAL &&
               strstr(error, "d=maybe: expected on or off"),
           "a wrong truth");
    tap_ok(keyval_take_number(&list, "e", &number, error, sizeof(error)) == -EINVAL &&
               keyval_take_number(&list, "g", &number, error, sizeof(error)) == -EINVAL,
           "wrong numbers");
    tap_ok(keyval_take_enum(&list, "f", names, &choice, error, sizeof(error)) == -EINVAL &&
               strstr(error, "expected red, green or blue"),
           "a wrong name");
    tap_ok(!keyval_take_bool(&list, "z", &flag, error, sizeof(error)) &&
               !keyval_take_size(&list, "z", 1, &number, error, sizeof(error)),
           "what is not there changes nothing");
    tap_ok(!keyval_finish(&list, error, sizeof(error)), "all were taken");
    keyval_free(&list);
}

int main(void)
{
    test_text();
    test_json();
    test_values();
    return tap_done();
}
