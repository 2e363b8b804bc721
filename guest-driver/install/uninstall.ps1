# Removes the guest driver: its record is taken away, then the service, then the file. Run as administrator.
[CmdletBinding()]
param()
$ErrorActionPreference = 'Stop'

$name = 'core2dmp-guest'
& sc.exe stop $name
& sc.exe delete $name
if ($LASTEXITCODE -ne 0) { throw "sc delete failed: $LASTEXITCODE" }
Remove-Item (Join-Path $env:SystemRoot "System32\drivers\$name.sys") -ErrorAction SilentlyContinue
