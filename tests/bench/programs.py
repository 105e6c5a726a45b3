"""The Debian programs that tests/bench/run measures, and the input it makes for them."""
import os

PACKAGES = ['libc6', 'coreutils', 'python3', 'perl', 'lua5.4', 'sqlite3', 'xz-utils', 'gzip',
            '7zip', 'cpp-14', 'openssl']

PYTHON = '''
import hashlib, json, re
words = open({text!r}).read().split()
count = {{}}
for w in words:
    count[w] = count.get(w, 0) + 1
top = sorted(count.items(), key=lambda kv: (-kv[1], kv[0]))[:20]
class Node:
    def __init__(self, value, left=None, right=None):
        self.value, self.left, self.right = value, left, right
    def total(self):
        return self.value + (self.left.total() if self.left else 0) + (
            self.right.total() if self.right else 0)
def tree(n):
    return Node(n, tree(n - 1), tree(n - 2)) if n > 1 else Node(1)
print(len(json.dumps(top)), len(re.findall(r'[aeiou]{{2}}', ' '.join(words[:60000]))))
print(tree(19).total(), sum(i * i % 7 for i in range(200000)), 7 ** 3000 % 1000007)
'''
PERL = r'''
open my $f, '<', $ARGV[0] or die; my (%n, $v);
while (<$f>) { for my $w (split) { $n{$w}++; $v++ if $w =~ /[aeiou].*[aeiou]/ } }
my @top = sort { $n{$b} <=> $n{$a} || $a cmp $b } keys %n;
my $s = 0; $s = ($s * 31 + $_) % 1000003 for 1 .. 400000;
print "$v $s @top[0..9]\n";
'''
LUA = '''
local n, t = 0, {}
for i = 1, 300000 do t[i] = (i * 7919) % 100003 end
table.sort(t)
for line in io.lines(arg[1]) do for w in line:gmatch("%a+") do n = n + #w end end
local function fib(k) if k < 2 then return k end return fib(k - 1) + fib(k - 2) end
print(n, t[1000], fib(24), string.format("%.6f", math.sin(n)))
'''
SQL = '''
create table t(id integer primary key, name text, v real);
with recursive c(i) as (select 1 union all select i + 1 from c where i < 60000)
insert into t select i, 'name' || (i * 7919 % 10007), i * 0.5 from c;
create index by_name on t(name);
select count(*), sum(v), max(name) from t;
select name, count(*), avg(v) from t group by name order by 2 desc, 1 limit 5;
select count(*) from t a join t b on a.name = b.name where a.id < b.id;
'''
SMALL_C = '''
int printf(const char *, ...);
struct point { int x, y; };
static int add(struct point p) { return p.x + p.y; }
int main(int argc, char **argv)
{
    struct point p = { argc, 3 };
    for (int i = 0; i < 10; i++)
        p.y += add(p) * i;
    return printf("%d\\n", p.y) < 0;
}
'''


def text(size):
    """About `size` bytes of words from a fixed generator."""
    x, out, total = 12345, [], 0
    syllables = 'ka lo mi ter ban su re on dal pe qui ver so an tu li'.split()
    while total < size:
        x = (x * 1103515245 + 12345) & 0x7fffffff
        rank = (x >> 8) % (1 + (x >> 16) % 3000)
        word = syllables[rank % 16] + syllables[rank // 16 % 16] + syllables[rank // 256 % 16]
        out.append(word)
        total += len(word) + 1
    return '\n'.join(' '.join(out[i:i + 12]) for i in range(0, len(out), 12)) + '\n'


def large_c(functions):
    """A C file of so many functions with loops, switches and calls; needs no header."""
    out = ['typedef unsigned long u;', 'extern u table[4096];']
    for i in range(functions):
        out.append(f'''
u f{i}(u *p, u n, int k)
{{
    u s = {i * 2654435761 % 65536};
    for (u i = 0; i < n; i++) {{
        s = s * {i * 2 + 3} + p[i] * table[(s >> {i % 13}) & 4095];
        switch ((s ^ k) & 7) {{
        case 0: s += p[i] >> {i % 7 + 1}; break;
        case 1: s ^= table[i & 4095] + k; break;
        case 3: s -= {f"f{i - 1}(p, i & 3, k + 1)" if i else "7"}; break;
        case {4 + i % 4}: p[i] = s; break;
        default: s = (s << {i % 31 + 1}) | (s >> {63 - i % 31}); break;
        }}
        for (int j = k; j < {i % 9 + 4}; j++)
            s += (double)p[j] * 0.5 > k ? p[j] : table[j];
    }}
    return s;
}}''')
    return '\n'.join(out)


def prepare(folder):
    """Writes the input files into `folder`; returns their paths by name."""
    os.makedirs(folder, exist_ok=True)
    paths = {n: os.path.join(folder, n) for n in
             ('text', 'work.py', 'work.pl', 'work.lua', 'work.sql', 'small.c', 'large.c', 'big')}
    words = text(1500000)
    contents = {'text': words, 'work.py': PYTHON.format(text=paths['text']), 'work.pl': PERL,
                'work.lua': LUA, 'work.sql': SQL, 'small.c': SMALL_C, 'large.c': large_c(30),
                'big': words * 20}
    for name, content in contents.items():
        with open(paths[name], 'w') as f:
            f.write(content)
    return paths


def rows(p):
    """(name, is long, program relative to the root, arguments, native output must be equal)."""
    cc1 = 'usr/libexec/gcc/{triple}/14/cc1'
    return [
        ('true', False, 'usr/bin/true', [], True),
        ("python3 -c 'print(1)'", False, 'usr/bin/python3', ['-c', 'print(1)'], True),
        ('cc1 -O0 small', False, cc1, ['-quiet', '-O0', p['small.c'], '-o', '-'], False),
        ('python3 workload', True, 'usr/bin/python3', [p['work.py']], True),
        ('perl', True, 'usr/bin/perl', [p['work.pl'], p['text']], True),
        ('lua5.4', True, 'usr/bin/lua5.4', [p['work.lua'], p['text']], True),
        ('sqlite3', True, 'usr/bin/sqlite3', ['-batch', ':memory:', '.read ' + p['work.sql']],
         True),
        ('xz', True, 'usr/bin/xz', ['-2', '-c', '-T1', p['text']], True),
        ('gzip', True, 'usr/bin/gzip', ['-n', '-c', p['text']], True),
        ('7z', True, 'usr/lib/7zip/7z', ['a', '-mx=3', '-mmt=1', '-txz', '-so', 'x', p['text']],
         True),
        ('cc1 -O2 large', True, cc1, ['-quiet', '-O2', p['large.c'], '-o', '-'], False),
        ('openssl sha256', True, 'usr/bin/openssl', ['dgst', '-sha256', p['big']], True),
    ]
