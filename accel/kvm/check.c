/*
 * What KVM needs of the host, and what to do where it is missing: one line that names the next step
 * for a person, from what stands in the way of all others to what a capability is called.
 */
#include "accel/kvm/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#define WHO "-accel kvm"

/* Which every architecture needs. */
static const struct kvm_need needs[] = {
    {KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
    {KVM_CAP_DESTROY_MEMORY_REGION_WORKS, "KVM_CAP_DESTROY_MEMORY_REGION_WORKS"},
    {KVM_CAP_JOIN_MEMORY_REGIONS_WORKS, "KVM_CAP_JOIN_MEMORY_REGIONS_WORKS"},
    {KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
    {KVM_CAP_READONLY_MEM, "KVM_CAP_READONLY_MEM"},
    {0, NULL},
};

/* Is the word in the line of flags of /proc/cpuinfo? */
static bool has_flag(const char *flag)
{
    FILE *f = fopen("/proc/cpuinfo", "re");
    char *line = NULL;
    size_t size = 0;
    bool found = false, flags = false;

    while (f && !flags && getline(&line, &size, f) > 0) {
        flags = strncmp(line, "flags", 5) == 0;
        for (char *save, *word = strtok_r(line, " \t\n", &save); flags && word;
             word = strtok_r(NULL, " \t\n", &save)) {
            found |= strcmp(word, flag) == 0;
        }
    }
    free(line);
    if (f) {
        fclose(f);
    }
    return found;
}

/* Why there is no such device. */
static void explain_absence(char *error, size_t error_size)
{
    const char *device = kvm.options.device;
    bool vmx = has_flag("vmx"), svm = has_flag("svm");

    if (strcmp(device, "/dev/kvm") != 0) {
        snprintf(error, error_size, WHO ",device=%s: there is no such device", device);
    } else if (access("/sys/module/kvm", F_OK) == 0 && access("/sys/class/misc/kvm", F_OK) == 0) {
        snprintf(error, error_size,
                 WHO ": the kernel has KVM, but there is no /dev/kvm here: a container is given it "
                     "by --device=/dev/kvm");
    } else if (vmx || svm) {
        snprintf(error, error_size,
                 WHO ": there is no /dev/kvm: load the module (modprobe %s); if it refuses, enable "
                     "virtualization (%s) in the firmware's set-up",
                 vmx ? "kvm_intel" : "kvm_amd", vmx ? "VT-x" : "SVM");
    } else {
        snprintf(error, error_size,
                 WHO
                 ": there is no /dev/kvm, and the processor shows neither vmx nor svm: enable "
                 "virtualization in the firmware's set-up, or, in a virtual machine, nesting on "
                 "its host");
    }
}

static void explain_refusal(char *error, size_t error_size)
{
    const char *device = kvm.options.device;
    const struct group *group;
    const struct passwd *user;
    struct stat st;

    if (stat(device, &st) < 0 || (st.st_mode & 0060) != 0060) {
        snprintf(error, error_size,
                 WHO ": %s: permission denied, by its mode for its group too: expected mode 0660",
                 device);
        return;
    }
    group = getgrgid(st.st_gid);
    user = getpwuid(getuid());
    snprintf(error, error_size,
             WHO ": %s: permission denied: it is for group %s: join it (usermod -aG %s %s) and log "
                 "in again",
             device, group ? group->gr_name : "?", group ? group->gr_name : "GROUP",
             user ? user->pw_name : "USER");
}

int kvm_open(char *error, size_t error_size)
{
    const char *device = kvm.options.device;
    struct utsname host;
    int version;

    if (uname(&host) == 0 && strcmp(host.machine, kvm_arch_machine) != 0) {
        snprintf(error, error_size,
                 WHO ": runs guests of the host's architecture only: the host is %s, the guest %s",
                 host.machine, kvm_arch_machine);
        return -ENOTSUP;
    }
    kvm.device = open(device, O_RDWR | O_CLOEXEC);
    if (kvm.device < 0) {
        int err = errno;

        if (err == ENOENT || err == ENODEV || err == ENXIO) {
            explain_absence(error, error_size);
        } else if (err == EACCES || err == EPERM) {
            explain_refusal(error, error_size);
        } else {
            snprintf(error, error_size, WHO ": %s: %s", device, strerror(err));
        }
        return -err;
    }
    version = kvm_dev_ioctl(KVM_GET_API_VERSION, NULL);
    if (version < 0) {
        snprintf(error, error_size, WHO ": %s is not the device of KVM: %s", device,
                 strerror(-version));
        return -ENODEV;
    }
    if (version != KVM_API_VERSION) {
        snprintf(error, error_size, WHO ": %s has version %d of the interface: expected %d", device,
                 version, KVM_API_VERSION);
        return -ENOTSUP;
    }
    return 0;
}

static int check(const struct kvm_need *need, char *error, size_t error_size)
{
    for (; need->name; need++) {
        if (!kvm_check_extension(need->capability)) {
            snprintf(error, error_size,
                     WHO ": the host's kernel lacks %s: expected a newer one, or one built with it",
                     need->name);
            return -ENOTSUP;
        }
    }
    return 0;
}

int kvm_check_needs(char *error, size_t error_size)
{
    int err = check(needs, error, error_size);

    return err ? err : check(kvm_arch_needs, error, error_size);
}
