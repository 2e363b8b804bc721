# Installs the guest driver as a kernel service, without a device. Run as administrator, beside core2dmp-guest.sys.
# A signed driver or test signing is needed: README.md.
[CmdletBinding()]
param([ValidateSet('boot', 'system')] [string] $StartType = 'system')
$ErrorActionPreference = 'Stop'

$name = 'core2dmp-guest'
$source = Join-Path $PSScriptRoot "$name.sys"
if (-not (Test-Path $source)) { throw "$source is missing; build it with cargo xtask driver" }
if (Get-Service $name -ErrorAction SilentlyContinue) { throw "$name is installed; run uninstall.ps1 first" }

$target = Join-Path $env:SystemRoot "System32\drivers\$name.sys"
Copy-Item $source $target -Force
& sc.exe create $name type= kernel start= $StartType error= ignore binPath= "System32\drivers\$name.sys" DisplayName= "core2dmp guest driver"
if ($LASTEXITCODE -ne 0) { Remove-Item $target; throw "sc create failed: $LASTEXITCODE" }

$key = "HKLM:\SYSTEM\CurrentControlSet\Services\$name\Parameters"
New-Item $key -Force | Out-Null
foreach ($value in @{ PollSeconds = 60; PvpanicPort = 0; XenShutdown = 0 }.GetEnumerator()) {
    New-ItemProperty $key -Name $value.Key -Value $value.Value -PropertyType DWord -Force | Out-Null
}
& sc.exe start $name
if ($LASTEXITCODE -ne 0) {
    Write-Warning "$name is installed and did not start ($LASTEXITCODE); 577 means that Windows does not trust its signature"
}
