// Everything the images would install is already on the PATH.
console.log(`Requirement already satisfied: ${process.argv.slice(3).join(' ')}`)
