// One cosmos-bridge in Azure Container Apps: identity, roles, leases, state, the app.
// NOT COMPILED, NOT DEPLOYED: main.json is written by hand; `cargo test --test deploy` compares the two.
//
//   az deployment group create --resource-group RG --template-file deploy/azure/main.bicep --parameters @mine.json

targetScope = 'resourceGroup'

@description('Region of all resources.')
param location string = resourceGroup().location

@description('Prefix of the resource names; lower-case letters and digits.')
@minLength(3)
@maxLength(11)
param name string = 'bridge'

@description('The image of deploy/image/Dockerfile, preferably by digest.')
param image string

@description('The configuration, such as config.toml in this folder. IDENTITY_CLIENT_ID in it is replaced by the id of the created identity.')
@secure()
param config string

@description('Source account: name, resource group, database and container.')
param source object

@description('Target account: name, resource group, database and container.')
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
    // The id of the identity is known only here.
    config: replace(config, 'IDENTITY_CLIENT_ID', identity.outputs.clientId)
    identityId: identity.outputs.id
    workspace: workspace
    subnetId: subnetId
  }
}
