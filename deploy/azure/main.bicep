// One cosmos-bridge in Azure Container Apps: identity, rights, leases, state, the app.
// NOT COMPILED, NOT DEPLOYED: main.json is written by hand beside it, and held to it by `cargo test --test deploy`.
//
//   az deployment group create --resource-group RG --template-file deploy/azure/main.bicep --parameters @mine.json

targetScope = 'resourceGroup'

@description('Region of everything that is made.')
param location string = resourceGroup().location

@description('Beginning of the names of what is made; lower-case letters and digits.')
@minLength(3)
@maxLength(11)
param name string = 'bridge'

@description('The image of deploy/image/Dockerfile, by digest where you can.')
param image string

@description('The configuration file, as in config.toml beside this. IDENTITY_CLIENT_ID in it becomes the id of the identity that is made here.')
@secure()
param config string

@description('Account that is read: its name, resource group, database and container.')
param source object

@description('Account that is written to: its name, resource group, database and container.')
param target object

@description('Key Vault in this resource group with the secrets of sinks, which the identity may read. Accounts need none.')
param keyVault string

@description('Log Analytics workspace in this resource group.')
param workspace string

@description('Subnet for the environment, delegated to Microsoft.App/environments. NFS shares need it.')
param subnetId string

module identity 'modules/identity.bicep' = {
  name: 'identity'
  params: {
    location: location
    name: name
    keyVault: keyVault
  }
}

module sourceRole 'modules/source-role.bicep' = {
  name: 'source-role'
  scope: resourceGroup(source.resourceGroup)
  params: {
    account: source.account
    database: source.database
    container: source.container
    principalId: identity.outputs.principalId
  }
}

module targetRole 'modules/target-role.bicep' = {
  name: 'target-role'
  scope: resourceGroup(target.resourceGroup)
  params: {
    account: target.account
    database: target.database
    container: target.container
    principalId: identity.outputs.principalId
  }
}

module leases 'modules/leases.bicep' = {
  name: 'leases'
  scope: resourceGroup(target.resourceGroup)
  params: {
    account: target.account
    database: target.database
  }
}

module app 'modules/app.bicep' = {
  name: 'app'
  params: {
    location: location
    name: name
    image: image
    // Who the bridge is, is known only here.
    config: replace(config, 'IDENTITY_CLIENT_ID', identity.outputs.clientId)
    identityId: identity.outputs.id
    workspace: workspace
    subnetId: subnetId
  }
}
