# SPDX-License-Identifier: Apache-2.0
"""Write the image's SBOM: sbom.py PYTHON DPKG_STATUS OUTPUT.

CycloneDX JSON of the Python distributions that the interpreter PYTHON sees,
with the shared libraries inside of them, and of the Debian packages that the
file DPKG_STATUS says are installed. The file patches.json beside OUTPUT tells
which of them are patched, and by what. The same input gives the same bytes:
the time stamp is SOURCE_DATE_EPOCH.
"""

import argparse
import collections.abc
import hashlib
import json
import pathlib
import platform
import re
import subprocess
import sys
import uuid

from cyclonedx import model
from cyclonedx.model import bom
from cyclonedx.model import component
from cyclonedx.output import json as output
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation import json as validation
import packageurl

#: The distribution of the image's own modules, which no index has.
ENTRYPOINT = 'keystone-crdb-image'

#: What wheels put before the ending of a library's name: a part of a hash.
MARK = re.compile(r'-[0-9a-f]{8}(?=\.)')

#: How OpenSSL names itself, with the day of its release.
OPENSSL = re.compile(rb'OpenSSL (\d+\.\d+\.\d+\w*) +\d+ \w+ \d{4}')

FIELDS = '${db:Status-Status}\t${Package}\t${Version}\t${Architecture}\n'


def python_components(python: str) -> bom.Bom:
    """Return the BOM of a Python environment.

    :param python: path of its interpreter
    """
    text = subprocess.run(
        [
            pathlib.Path(sys.executable).with_name('cyclonedx-py'),
            'environment', '--output-reproducible', '--short-PURLs', python,
        ],
        check=True,
        stdout=subprocess.PIPE,
    ).stdout
    return bom.Bom.from_json(json.loads(text))


def debian_components(status: pathlib.Path) -> collections.abc.Iterator:
    """Yield a component for each installed Debian package.

    :param status: dpkg's status file
    :returns: cyclonedx.model.component.Component objects
    """
    text = subprocess.run(
        ['dpkg-query', '--admindir', status.parent, '-W', '-f', FIELDS],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    release = platform.freedesktop_os_release()
    distro = f'{release["ID"]}-{release["VERSION_ID"]}'
    for line in text.splitlines():
        state, name, version, architecture = line.split('\t')
        if state == 'installed':
            purl = packageurl.PackageURL(
                'deb', release['ID'], name, version,
                {'arch': architecture, 'distro': distro},
            )
            yield component.Component(
                name=name, version=version, purl=purl,
                bom_ref=purl.to_string(),
            )


def mark_own(
    components: collections.abc.Iterable[component.Component],
    patches: collections.abc.Iterable[dict[str, str]],
) -> None:
    """Tell where our own distributions come from, and their patches.

    :param patches: what ./build.sh source wrote to patches.json
    """
    names: dict[str, list[str]] = {}
    for patch in patches:
        names.setdefault(patch['project'], []).append(patch['patch'])
    for part in components:
        if part.name == ENTRYPOINT:
            part.purl = packageurl.PackageURL(
                'generic', None, part.name, part.version
            )
        if part.name not in names or part.version is None:
            continue
        part.purl = packageurl.PackageURL('pypi', None, part.name,
                                          part.version)
        upstream = part.version.partition('+')[0]
        part.pedigree = component.Pedigree(
            ancestors=[
                component.Component(
                    name=part.name, version=upstream,
                    purl=packageurl.PackageURL(
                        'pypi', None, part.name, upstream
                    ),
                )
            ],
            patches=[
                component.Patch(
                    type=component.PatchClassification.UNOFFICIAL,
                    diff=component.Diff(
                        url=model.XsUri(f'patches/{part.name}/{name}')
                    ),
                )
                for name in names[part.name]
            ],
        )


def libraries(
    file: pathlib.Path, owner: str
) -> collections.abc.Iterator:
    """Yield a component for each library that a file is or contains.

    :param file: a shared object of a wheel
    :param owner: the reference of that wheel's component; without references
        of their own the libraries would get random ones
    :returns: cyclonedx.model.component.Component objects
    """
    content = file.read_bytes()
    if file.parent.name.endswith('.libs'):
        yield component.Component(
            name=MARK.sub('', file.name),
            bom_ref=f'{owner}#{file.name}',
            hashes=[
                model.HashType(
                    alg=model.HashAlgorithm.SHA_256,
                    content=hashlib.sha256(content).hexdigest(),
                )
            ],
        )
    for version in sorted({found.decode() for found in
                           OPENSSL.findall(content)}):
        yield component.Component(
            name='openssl', version=version,
            purl=packageurl.PackageURL('generic', None, 'openssl', version),
            bom_ref=f'{owner}#openssl@{version}',
        )


def add_libraries(
    python: str, components: collections.abc.Iterable[component.Component]
) -> None:
    """Put the libraries of wheels into the components of these.

    :param python: path of the interpreter
    """
    folder = pathlib.Path(subprocess.run(
        [python, '-c',
         'import sysconfig; print(sysconfig.get_path("platlib"))'],
        check=True, stdout=subprocess.PIPE, text=True,
    ).stdout.strip())
    parts = {part.name.replace('-', '_'): part for part in components}
    for file in sorted(folder.rglob('*.so*')):
        top = file.relative_to(folder).parts[0]
        part = parts.get(top.removesuffix('.libs'))
        if part is not None:
            part.components.update(libraries(file, str(part.bom_ref)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('python')
    parser.add_argument('status', type=pathlib.Path)
    parser.add_argument('output')
    args = parser.parse_args()
    everything = python_components(args.python)
    patches = pathlib.Path(args.output).with_name('patches.json')
    mark_own(everything.components, json.loads(patches.read_text()))
    add_libraries(args.python, everything.components)
    versions = {part.name: part.version for part in everything.components}
    root = everything.metadata.component = component.Component(
        type=component.ComponentType.CONTAINER, name='keystone-crdb',
        version=versions.get('keystone'), bom_ref='keystone-crdb',
    )
    everything.register_dependency(root, everything.components)
    everything.components.update(debian_components(args.status))
    refs = sorted(str(each.bom_ref) for each in everything.components)
    everything.serial_number = uuid.uuid5(uuid.NAMESPACE_OID, '\n'.join(refs))
    writer = output.JsonV1Dot6(everything)
    text = writer.output_as_string(indent=2)
    wrong = validation.JsonStrictValidator(SchemaVersion.V1_6).validate_str(
        text
    )
    if wrong:
        sys.exit(f'the SBOM is not valid: {wrong}')
    pathlib.Path(args.output).write_text(text)


if __name__ == '__main__':
    main()
